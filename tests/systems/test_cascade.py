"""LaVie's stages one after the other: what each gets, and that stopping between them is free."""

import numpy as np
import pytest
import torch

from mutoscope.errors import RequestError
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import load
from mutoscope.types import Latents

PROMPT = "a red star drifts left"


def latents(system: LaVie, **request: object) -> Latents:
    found = system(PROMPT, output_type="latent", **request).frames
    assert isinstance(found, torch.Tensor)
    return found


def test_all_stages_run_by_default(tiny_cascade: LaVie) -> None:
    seen: list[tuple[str, int]] = []
    video = tiny_cascade(PROMPT, on_stage=lambda name, drawn: seen.append((name, drawn.shape[2])))
    assert video.frames.shape == (1, 13, 16, 24, 3)
    assert video.fps == 32.0
    assert seen == [("base", 4), ("interpolate", 13)]


def test_the_first_stage_alone_gives_the_key_frames(
    tiny_cascade: LaVie, tiny_system: LaVie
) -> None:
    alone = tiny_cascade(PROMPT, stages=["base"])
    assert alone.fps == 8.0
    assert np.array_equal(alone.frames, tiny_system(PROMPT).frames)


def test_stopping_between_stages_changes_nothing(tiny_cascade: LaVie) -> None:
    whole = latents(tiny_cascade, seeds=4)
    keys = latents(tiny_cascade, seeds=4, stages=["base"])
    assert torch.equal(latents(tiny_cascade, seeds=4, key_frames=keys), whole)
    assert not torch.equal(latents(tiny_cascade, seeds=5, key_frames=keys), whole)
    assert not torch.equal(latents(tiny_cascade, seeds=4, key_frames=keys + 0.1), whole)


@pytest.mark.parametrize(("asked", "keys"), [(1, 1), (2, 2), (5, 2), (6, 3), (13, 4), (30, 9)])
def test_as_many_key_frames_are_drawn_as_it_takes(
    tiny_cascade: LaVie, asked: int, keys: int
) -> None:
    drawn: dict[str, Latents] = {}
    video = tiny_cascade(PROMPT, num_frames=asked, on_stage=drawn.__setitem__)
    assert video.frames.shape[1] == asked
    assert drawn["base"].shape[2] == keys
    assert ("interpolate" in drawn) == (asked > 1)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"stages": ["interpolate"]}, "'interpolate' cannot be run.* base or base,interpolate"),
        ({"stages": []}, "'' cannot be run"),
        ({"stages": ["base", "upscale"]}, "'base,upscale' cannot be run"),
        ({"num_frames": 53}, "1 .a still. to 52 frames and is at its best with 13"),
        ({"key_frames": torch.zeros(1, 4, 3, 8, 12), "num_frames": 10}, "they span 9. Use 9"),
    ],
)
def test_what_cannot_be_made_is_said_first(
    tiny_cascade: LaVie, request_: dict[str, object], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        tiny_cascade(PROMPT, **request_)


def test_a_model_without_interpolation_says_what_it_has(tiny_system: LaVie) -> None:
    with pytest.raises(RequestError, match="this model runs base"):
        tiny_system(PROMPT, stages=["base", "interpolate"])


def test_a_cascade_comes_back_whole(tiny_cascade: LaVie, cascade_folder: object) -> None:
    loaded = load(str(cascade_folder))
    assert loaded.stages == ("base", "interpolate")
    assert loaded.weights_hash() == tiny_cascade.weights_hash()
    assert np.array_equal(loaded(PROMPT).frames, tiny_cascade(PROMPT).frames)
