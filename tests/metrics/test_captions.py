"""Probes of captions read what states hold, of those captions that state it."""

import pytest
import torch

from mutoscope.encoding.text import TextEncoder
from mutoscope.metrics import captions
from mutoscope.metrics.captions import STATED, probe_captions
from mutoscope.systems import load
from mutoscope.world.factors import Kind


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    system = load()
    return TextEncoder(system.text_encoder, system.tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["video", "image"])
def test_the_shipped_encoder_tells_what_captions_state(text: TextEncoder, kind: Kind) -> None:
    """As `python -m mutoscope.evaluation.captions` measures it on more captions."""
    found = probe_captions(text, count=1000, kind=kind)
    assert tuple(found) == STATED[kind]
    assert min(right for name, right in found.items() if name != "speed") >= 0.98


@pytest.mark.slow
def test_states_that_hold_nothing_give_nothing(
    text: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = torch.Generator().manual_seed(0)
    monkeypatch.setattr(
        captions,
        "pooled_states",
        lambda text, prompts: torch.randn(len(prompts), 8, generator=draws),
    )
    found = probe_captions(text, count=1000)
    assert all(right < 0.6 for right in found.values())
    assert found["motion"] < 0.2
