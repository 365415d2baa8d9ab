"""A word on disk: it comes back as it was, only for the weights it was learned for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import ModelError, RequestError
from mutoscope.nn.lora import add_lora, lora_layers
from mutoscope.nn.temporal import is_temporal
from mutoscope.systems import load
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.lora import Lora, base_hash, read_lora, write_lora
from tests.nn.test_lora import fill
from tests.tiny import build_tiny_system

PROMPT = "a zorb drifts left"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A word for the tiny system, whose changes are as large as the weights."""
    system = build_tiny_system()
    base = base_hash(system)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        add_lora(system.base, rank=2)
    fill(system.base)
    layers = {f"unet.{name}": each for name, each in lora_layers(system.base).items()}
    vector = torch.linspace(-1, 1, 32)
    (tmp_path / "zorb").mkdir()
    write_lora(Lora("zorb", vector, layers, base, "tiny"), tmp_path / "zorb")
    return tmp_path / "zorb"


@pytest.mark.slow
def test_what_is_written_is_read(folder: Path) -> None:
    lora = read_lora(folder)
    assert (lora.word, lora.model, lora.base) == ("zorb", "tiny", base_hash(build_tiny_system()))
    assert torch.equal(lora.vector, torch.linspace(-1, 1, 32))
    assert all(name.startswith("unet.") for name in lora.layers)
    changes = [tensor for name, tensor in lora.layers.items() if ".lora_B." in name]
    assert changes
    assert all(tensor.abs().max() > 0.1 for tensor in changes)


@pytest.mark.slow
def test_the_word_is_drawn_and_known_and_the_rest_is_as_it_was(folder: Path) -> None:
    untouched, taught = build_tiny_system(), build_tiny_system().load_lora(folder)
    assert untouched.unknown_words(PROMPT) == ["zorb"]
    assert taught.unknown_words(PROMPT) == []
    frames = [each(PROMPT, seeds=1).frames for each in (untouched, taught)]
    assert not np.array_equal(*frames)
    before, after = untouched.base.state_dict(), taught.base.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(is_temporal(name) for name in changed)
    assert all(any(part in name for part in (".attn", ".ff.", ".resnets.")) for name in changed)


@pytest.mark.slow
def test_a_model_that_was_taught_can_be_saved_and_loaded(folder: Path) -> None:
    taught = build_tiny_system().load_lora(folder)
    taught.save_pretrained(folder / "model")
    again = load(folder / "model")
    assert again.unknown_words(PROMPT) == []
    assert np.array_equal(again(PROMPT, seeds=1).frames, taught(PROMPT, seeds=1).frames)


@pytest.mark.slow
def test_in_much_noise_known_words_stand_for_the_new_one(folder: Path) -> None:
    plain = build_tiny_system().load_lora(folder)
    assert plain.config.early_words == {}
    lora = replace(read_lora(folder), like=("star", "sea"))
    write_lora(lora, folder)
    assert read_lora(folder).like == ("star", "sea")
    taught = build_tiny_system().load_lora(folder)
    assert taught.config.early_words == {"zorb": "<zorb>"}
    table = taught.text_encoder.get_input_embeddings().weight
    assert torch.equal(
        table[-1], TextEncoder(taught.text_encoder, taught.tokenizer).mean_of(lora.like)
    )
    seen: list[tuple[float, torch.Tensor]] = []
    forward = taught.base.forward

    def watched(**told: Any) -> object:
        seen.append((float(told["timestep"][0]), told["encoder_hidden_states"]))
        return forward(**told)

    taught.base.forward = watched
    frames = taught(PROMPT, seeds=1, steps=8).frames
    taught.base.forward = forward
    late = next(states for time, states in seen if time < 950)
    for time, states in seen:
        assert torch.equal(states, late) == (time < 950)
    assert any(time >= 950 for time, _ in seen)
    assert not np.array_equal(frames, plain(PROMPT, seeds=1, steps=8).frames)
    # Of other prompts nothing changes, and a saved model does as this one.
    other = "a red star drifts left"
    assert np.array_equal(taught(other).frames, plain(other).frames)
    taught.save_pretrained(folder / "model")
    again = load(folder / "model")
    assert np.array_equal(again(PROMPT, seeds=1, steps=8).frames, frames)
    taught.register_to_config(early_words_until=1000.0)
    late_only = taught(PROMPT, seeds=1, steps=8).frames
    assert np.array_equal(late_only, plain(PROMPT, seeds=1, steps=8).frames)


def test_a_lora_of_another_model_is_refused(folder: Path) -> None:
    other = build_tiny_system()
    with torch.no_grad():
        other.base.conv_out.bias += 1
    before = other.weights_hash()
    with pytest.raises(ModelError, match="was learned for a model with other weights"):
        other.load_lora(folder)
    assert other.weights_hash() == before
    taught = build_tiny_system().load_lora(folder)
    with pytest.raises(ModelError, match="without another LoRA"):
        taught.load_lora(folder)


def test_a_model_without_a_base_is_refused(tiny_cascade: LaVie, folder: Path) -> None:
    parts = dict(tiny_cascade.components) | {"base": None}
    with pytest.raises(RequestError, match="no network that draws from words"):
        LaVie(**parts).load_lora(folder)


def no_folder(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def no_record(folder: Path) -> None:
    file = folder / "pytorch_lora_weights.safetensors"
    save_file(load_file(file), file)


def cut_short(folder: Path) -> None:
    file = folder / "pytorch_lora_weights.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def no_vector(folder: Path) -> None:
    (folder / "learned_embeds.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_folder, "holds no pytorch_lora_weights.safetensors"),
        (no_record, "does not say for which weights"),
        (cut_short, "cannot be read"),
        (no_vector, "cannot be read"),
    ],
)
def test_damage_is_one_sentence(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=words):
        read_lora(folder)
