"""The shipped upscaler leaves no seams, neither between windows in time nor between tiles.

A small clip pans over a textured still by a pixel a frame, so each large frame is the one before,
moved by four pixels, but for what was drawn anew.
"""

from dataclasses import replace

import numpy as np
import pytest

from mutoscope.diffusion.tiles import Tiles, spans
from mutoscope.diffusion.windows import windows
from mutoscope.systems import load
from mutoscope.systems.cascade import UPSCALE
from mutoscope.systems.cuts import Cut
from mutoscope.systems.lavie import LaVie
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


def panning(seed: int, frames: int, width: int = WIDTH) -> np.ndarray:
    """uint8 F H W 3."""
    scene = draw_scene(seed, split="test", kind="image")
    times = 1 if width == WIDTH else 3
    (still,) = render(scene, num_frames=1, height=80 * times, width=128 * times)
    top, left = 28 * times, 10
    return np.stack([still[top : top + HEIGHT, left + t : left + t + width] for t in range(frames)])


def enlarged(system: LaVie, clip: np.ndarray, overlap: int, tiles: Tiles | None) -> np.ndarray:
    system.register_to_config(upscale_overlap=overlap)
    usual = system.usual_cuts()
    cut = Cut(window=WINDOW, tiles=tiles or usual.stages[UPSCALE].tiles)
    cuts = replace(usual, stages={**usual.stages, UPSCALE: cut})
    frames = system.upscale(clip, fps=8.0, seed=0, cuts=cuts).frames
    assert isinstance(frames, np.ndarray)
    return frames[0].astype(np.float32)


@pytest.mark.parametrize(("overlap", "seamless"), [(2, True), (0, False)])
def test_windows_that_begin_in_one_another_do_not_show(
    system: LaVie, overlap: int, seamless: bool
) -> None:
    """Where one window ends, the change from frame to frame is no more than elsewhere.

    With an overlap of 2 that is where one frame is blended, and so in two places, of which the
    worse counts. The pan is taken away first, so what is left is what was drawn differently.
    """
    stops = np.array([part.stop for part in windows(FRAMES, size=WINDOW, overlap=overlap)[:-1]])
    borders = [stops - 1 - place for place in range(1 + overlap // 2)]
    ratios = []
    for seed in (1, 2):
        large = enlarged(system, panning(seed, FRAMES), overlap, None)
        steps = np.abs(large[1:, :, :-4] - large[:-1, :, 4:]).mean(axis=(1, 2, 3))
        elsewhere = np.delete(steps, np.concatenate(borders)).mean()
        ratios.append([steps[border].mean() / elsewhere for border in borders])
    assert (np.mean(ratios, axis=0).max() <= 1.03) == seamless, ratios


@pytest.mark.parametrize(
    ("width", "tiles", "seamless"),
    [
        (WIDTH, Tiles(height=HEIGHT, width=23, overlap=6), True),
        (WIDTH, Tiles(height=HEIGHT, width=20, overlap=0), False),
        pytest.param(354, None, True, marks=pytest.mark.long),  # two as they are by default
    ],
)
def test_tiles_that_overlap_do_not_show(
    system: LaVie, width: int, tiles: Tiles | None, seamless: bool
) -> None:
    """What tiles change of the step from column to column is no more where one of them ends.

    Compared are the largest changes there and nearby: group norms see a tile alone, so some is
    changed everywhere.
    """
    tiles = tiles or system.usual_cuts().stages[UPSCALE].tiles
    assert tiles is not None
    one = replace(tiles, width=width)
    assert len(spans(width, tiles.width, tiles.overlap)) == 2
    for seed in (1, 2):
        clip = panning(seed, WINDOW, width)
        large, whole = (enlarged(system, clip, 2, each) for each in (tiles, one))
        changed = np.abs(np.diff(large, axis=2) - np.diff(whole, axis=2)).mean(axis=(0, 1, 3))
        ends = np.array([4 * (width - tiles.width), 4 * tiles.width])[:, None]
        there = changed[ends + np.arange(-2, 1)]
        beside = np.concatenate([np.arange(-40, -4), np.arange(3, 39)])
        assert (there.max() <= changed[ends + beside].max()) == seamless, seed
