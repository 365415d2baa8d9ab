"""Reuse: which steps are whole, whose features go on, and that a system without it is exact."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mutoscope.diffusion.reuse import Reuse
from mutoscope.errors import RequestError
from mutoscope.systems.lavie import LaVie

PROMPT = "a red star drifts left"


def test_every_call_of_a_step_goes_on_from_its_own_features_and_the_first_step_is_whole() -> None:
    seen: list[tuple[float, str, float | None]] = []

    def predict(
        noisy: Tensor, time: Tensor, told: str, deep: Tensor | None, layers: int
    ) -> tuple[Tensor, Tensor]:
        assert layers == 2
        seen.append((float(time[0]), told, None if deep is None else float(deep)))
        return noisy, torch.tensor(len(seen) - 1.0) if deep is None else deep

    predict_again = Reuse(interval=3, layers=2).over(predict)
    for time in (900.0, 700.0, 500.0, 300.0, 100.0):
        for told in ("with text", "without"):
            noisy = torch.zeros(1, 1, 1, 1, 1)
            assert predict_again(noisy, torch.full((1,), time), told) is noisy
    whole = [(time, told) for time, told, deep in seen if deep is None]
    assert whole == [(t, told) for t in (900.0, 300.0) for told in ("with text", "without")]
    # Features carry the number of the call that made them.
    assert [deep for _, _, deep in seen] == [None, None, 0, 1, 0, 1, None, None, 6, 7]


@pytest.mark.parametrize(("interval", "layers"), [(1, 1), (0, 1), (2, 0)])
def test_no_reuse_is_refused(interval: int, layers: int) -> None:
    words = f"an interval of {interval} with {layers} layers computed anew is no reuse"
    with pytest.raises(RequestError, match=re.escape(words)):
        Reuse(interval=interval, layers=layers)


@pytest.mark.slow
def test_reuse_is_nothing_in_whole_steps_and_something_between(tiny_system: LaVie) -> None:
    def drawn(reuse: Reuse | None, **request: object) -> np.ndarray:
        latents = tiny_system(PROMPT, output_type="latent", reuse=reuse, **request).frames
        return np.asarray(latents)

    # The first step is whole; a sampling of one step has no other.
    assert np.array_equal(drawn(Reuse(interval=2, layers=1), steps=1), drawn(None, steps=1))
    exact = drawn(None, steps=6)
    errors = [
        float(np.square(drawn(Reuse(interval=interval, layers=1), steps=6) - exact).mean())
        for interval in (2, 6)
    ]
    assert 0 < errors[0] < errors[1]


def test_branches_in_calls_of_their_own_keep_features_of_their_own(tiny_system: LaVie) -> None:
    usual, reuse = tiny_system.usual_cuts(), Reuse(interval=2, layers=1)
    apart = replace(usual, stages={n: replace(c, apart=True) for n, c in usual.stages.items()})
    together, alone = (
        np.asarray(tiny_system(PROMPT, output_type="latent", reuse=reuse, cuts=cuts).frames)
        for cuts in (usual, apart)
    )
    assert np.linalg.norm(together - alone) < 1e-4 * np.linalg.norm(together)
