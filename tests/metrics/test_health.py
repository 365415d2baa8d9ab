"""Each thing that can go wrong is seen, and true videos are left in peace."""

import numpy as np
import pytest
import torch

from mutoscope.errors import MutoscopeError
from mutoscope.metrics.health import Health, check_finite
from mutoscope.video.frames import Frames
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene


def clip(seed: int = 0, num_frames: int = 8) -> Frames:
    return render(draw_scene(seed, split="test"), num_frames=num_frames, fps=8.0)


def health(frames: Frames) -> Health:
    found = Health()
    for frame in frames:
        found.add(frame)
    return found


def complaints(frames: Frames, keys: Frames | None = None) -> list[str]:
    return health(frames).complaints(None if keys is None else health(keys).look)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_true_videos_raise_no_complaint(seed: int) -> None:
    frames = clip(seed)
    assert complaints(frames, frames[::4]) == []
    assert complaints(frames[:1]) == []


def test_black_flat_and_frozen_videos_are_seen() -> None:
    frames = clip()
    assert complaints(np.zeros_like(frames))[0] == "all frames are black"
    assert complaints(np.full_like(frames, 90))[0] == "all frames are one flat colour"
    frozen = np.repeat(frames[:1], 8, axis=0)
    assert complaints(frozen) == ["nothing moves from the first frame to the last"]


def test_what_goes_wrong_on_the_way_is_seen() -> None:
    frames = clip(num_frames=24)
    dark = frames.copy()
    dark[15:] = 0
    assert "9 of 24 frames are black" in complaints(dark)
    stuck = np.concatenate([frames[:9], np.repeat(frames[9:10], 15, axis=0)])
    assert complaints(stuck) == ["14 of 24 frames are the same as the one before"]
    slideshow = np.repeat(frames[::4], 4, axis=0)  # an interpolation that did nothing
    assert complaints(slideshow) == ["18 of 24 frames are the same as the one before"]


def test_a_jump_and_other_colours_are_seen() -> None:
    frames = clip()
    seam = np.concatenate([frames[:4], clip(5)[4:]])
    assert complaints(seam) == ["the picture jumps between frames 3 and 4"]
    redder = np.clip(frames.astype(int) + np.array([20, 0, 0]), 0, 255).astype(np.uint8)
    (said,) = complaints(redder, frames[::4])
    assert said.startswith("colours lie ")


@pytest.mark.parametrize(("axis", "name"), [(1, "row"), (2, "column")])
def test_a_seam_through_the_picture_is_seen(axis: int, name: str) -> None:
    small = clip(7)
    large = small.repeat(4, axis=1).repeat(4, axis=2).astype(int)
    beyond = [slice(None)] * 4
    beyond[axis] = slice(141, None)
    large[tuple(beyond)] -= 8
    found = complaints(np.clip(large, 0, 255).astype(np.uint8), small)
    assert found == [f"a seam goes through the picture after {name} 140"]


@pytest.mark.parametrize("times", [1, 4])
def test_edges_of_what_is_shown_are_no_seams(times: int) -> None:
    """A pillar box, which goes through the picture too, and was there before."""
    frames = clip(7)
    frames[:, :, :40] = 0
    large = frames.repeat(times, axis=1).repeat(times, axis=2)
    assert complaints(large, frames) == []
    unboxed = frames.copy()
    unboxed[:, :, :40] = frames[:, :, 40:80]
    (said,) = [each for each in complaints(large, unboxed) if "seam" in each]
    assert said == f"a seam goes through the picture after column {40 * times - 1}"


def test_latents_that_are_no_numbers_are_refused() -> None:
    latents = torch.zeros(2, 3, 4, 2, 2)
    check_finite(latents, "base")
    latents[1, 0, 2] = torch.nan
    with pytest.raises(MutoscopeError, match="stage 'base' broke down: 1 of 2 videos"):
        check_finite(latents, "base")
