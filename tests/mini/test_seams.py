"""The shipped upscaler leaves no seams, neither between windows in time nor between tiles.

A small clip pans over a textured still by a pixel a frame, so each large frame is the one before,
moved by four pixels, but for what was drawn anew.
"""

from dataclasses import replace

import numpy as np
import pytest

from mutoscope.diffusion.tiles import Tiles
from mutoscope.diffusion.windows import windows
from mutoscope.systems import load
from mutoscope.systems.cuts import Cut
from mutoscope.systems.lavie import UPSCALE, LaVie
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene

FRAMES, HEIGHT, WIDTH = 26, 24, 40
WINDOW = 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def system() -> LaVie:
    loaded = load()
    assert isinstance(loaded, LaVie)
    return loaded


def panning(frames: int) -> np.ndarray:
    """uint8 F H W 3."""
    scene = draw_scene(1, split="test", kind="image")
    (still,) = render(scene, num_frames=1, height=80, width=128)
    return np.stack([still[28 : 28 + HEIGHT, 10 + t : 10 + t + WIDTH] for t in range(frames)])


def enlarged(system: LaVie, clip: np.ndarray, overlap: int, tiles: Tiles | None) -> np.ndarray:
    system.register_to_config(upscale_overlap=overlap)
    usual = system.usual_cuts()
    cut = Cut(window=WINDOW, tiles=tiles or usual.stages[UPSCALE].tiles)
    cuts = replace(usual, stages={**usual.stages, UPSCALE: cut})
    frames = system.upscale(clip, fps=8.0, seed=0, cuts=cuts).frames
    assert isinstance(frames, np.ndarray)
    return frames[0].astype(np.float32)


def steps_in_time(large: np.ndarray) -> np.ndarray:
    """Mean change from each frame to the next, the pan taken away, in grey levels."""
    return np.abs(large[1:, :, :-4] - large[:-1, :, 4:]).mean(axis=(1, 2, 3))


@pytest.mark.parametrize(("overlap", "seamless"), [(2, True), (0, False)])
def test_the_step_from_window_to_window_is_no_larger(
    system: LaVie, overlap: int, seamless: bool
) -> None:
    steps = steps_in_time(enlarged(system, panning(FRAMES), overlap, None))
    parts = windows(FRAMES, size=WINDOW, overlap=overlap)
    # The first frame that a window adds follows the last of the window before.
    borders = [before.stop - 1 for before in parts[:-1]]
    inside = np.delete(steps, borders)
    print(overlap, steps[borders], np.median(inside), inside.max())
    assert (steps[borders].mean() <= 1.15 * inside.mean()) == seamless


@pytest.mark.parametrize(("overlap", "seamless"), [(6, True), (0, False)])
def test_the_step_from_tile_to_tile_is_no_larger(
    system: LaVie, overlap: int, seamless: bool
) -> None:
    clip = panning(WINDOW)
    tiles = Tiles(height=HEIGHT, width=(WIDTH + overlap) // 2, overlap=overlap)
    large = enlarged(system, clip, 2, tiles)
    whole = enlarged(system, clip, 2, None)
    # What tiles change of the step from column to column.
    changed = np.abs(np.diff(large, axis=2) - np.diff(whole, axis=2)).mean(axis=(0, 1, 3))
    border = 4 * tiles.width - 1 if overlap == 0 else None
    print(overlap, changed.max(), changed.argmax(), np.median(changed), border)
    assert (changed.max() <= 4 * np.median(changed)) == seamless
