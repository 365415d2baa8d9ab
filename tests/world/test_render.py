"""Renders: one continuous scene sampled at any rate, size and crop; flow and masks that fit it."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from mutoscope.errors import RequestError
from mutoscope.world.factors import (
    BACKGROUNDS,
    COLOURS,
    IMAGE_ONLY_SHAPES,
    SHAPES,
    STYLES,
    TEXTURES,
)
from mutoscope.world.palette import INK, lab, to_linear, to_srgb
from mutoscope.world.render import render, render_truth
from mutoscope.world.scene import Scene, Thing, draw_scene


@cache
def first(background: str) -> Scene:
    """The first drawn scene with this background."""
    scenes = (draw_scene(seed, split="test") for seed in range(1000))
    return next(scene for scene in scenes if scene.background == background)


def of_background(background: str, **changes: object) -> Scene:
    """A drawn scene with this background and some factors changed."""
    return replace(first(background), **changes)


@pytest.fixture(params=BACKGROUNDS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return of_background(request.param)


def test_the_same_in_another_process() -> None:
    code = (
        "import hashlib; from mutoscope.world.scene import draw_scene;"
        "from mutoscope.world.render import render;"
        "f = [render(draw_scene(i, split='test'), num_frames=2).tobytes() for i in range(8)];"
        "print(hashlib.sha256(b''.join(f)).hexdigest())"
    )
    frames = [render(draw_scene(i, split="test"), num_frames=2).tobytes() for i in range(8)]
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert printed.stdout.decode().strip() == hashlib.sha256(b"".join(frames)).hexdigest()


@pytest.mark.slow
def test_frame_rates_sample_one_time_line(scene: Scene) -> None:
    slow = render(scene, num_frames=16, fps=8.0)
    fast = render(scene, num_frames=61, fps=32.0)
    np.testing.assert_array_equal(slow, fast[::4])
    np.testing.assert_array_equal(render(scene, num_frames=3, start=0.5), slow[4:7])


def test_a_crop_is_a_slice(scene: Scene) -> None:
    whole = render(scene, num_frames=2)
    part = render(scene, num_frames=2, crop=(7, 30, 40, 64))
    np.testing.assert_array_equal(part, whole[:, 7:47, 30:94])
    truth = render_truth(scene, num_frames=2)
    cut = render_truth(scene, num_frames=2, crop=(7, 30, 40, 64))
    np.testing.assert_array_equal(cut.masks, truth.masks[:, :, 7:47, 30:94])
    np.testing.assert_array_equal(cut.flow, truth.flow[:, 7:47, 30:94])


def test_sizes_show_the_same_scene(scene: Scene) -> None:
    small = render(scene, num_frames=1)[0].astype(float)
    large = to_linear(render(scene, num_frames=1, height=320, width=512)[0])
    shrunk = to_srgb(large.reshape(80, 4, 128, 4, 3).mean((1, 3)))
    assert 10 * np.log10(255**2 / np.square(small - shrunk).mean()) > 36
    inside = (render_truth(scene, num_frames=1).masks > 0).any((0, 1))
    assert 10 * np.log10(255**2 / np.square(small - shrunk)[inside].mean()) > 36


def test_a_wider_frame_shows_more_at_both_sides(scene: Scene) -> None:
    wide = render(scene, num_frames=1, width=192)[0].astype(int)
    assert np.abs(wide[:, 32:160] - render(scene, num_frames=1)[0]).max() <= 2


def test_renders_before_and_after_the_clip_and_at_odd_sizes(scene: Scene) -> None:
    for start in (-9.0, 60.0):
        assert render(scene, num_frames=2, start=start, height=37, width=91).shape == (2, 37, 91, 3)
        assert np.isfinite(render_truth(scene, num_frames=2, start=start).flow).all()


@pytest.mark.parametrize("camera", ["still", "pan left", "pan right"])
def test_a_pan_is_seen_everywhere_and_only_the_sea_moves_by_itself(camera: str) -> None:
    for background in BACKGROUNDS:
        scene = of_background(background, camera=camera, things=())
        frames = render(scene).astype(float)
        change = np.abs(frames[-1] - frames[0]).max((0, 2)).reshape(8, 16).mean(1)
        moves = camera != "still" or background == "sea"
        assert (change > 12).all() if moves else (change == 0).all()


def test_a_pan_to_the_right_moves_the_background_left() -> None:
    scene = of_background("city", things=())
    flow = render_truth(replace(scene, camera="pan right"), num_frames=2).flow
    assert (flow[..., 0] < 0).all()
    assert len(np.unique(flow[..., 0].round(3))) >= 3
    assert flow[0, -1, :, 0].max() < flow[0, 0, :, 0].min()
    assert (render_truth(replace(scene, camera="still"), num_frames=2).flow == 0).all()


@pytest.mark.slow
def test_masks_show_where_things_are() -> None:
    for seed in range(20):
        scene = draw_scene(seed, split="test")
        bare = render(replace(scene, things=()), num_frames=2).astype(int)
        full = render(scene, num_frames=2).astype(int)
        masks = render_truth(scene, num_frames=2).masks
        assert masks.shape == (len(scene.things), 2, 80, 128)
        inside = (masks > 0.99).any(0)
        assert (np.abs(full - bare).max(-1)[inside] > 8).mean() > 0.97


@pytest.mark.slow
def test_flow_takes_each_frame_to_the_next() -> None:
    rows, columns = np.mgrid[:80, :128]
    for seed in range(20):
        scene = draw_scene(seed, split="test")
        frames = render(scene, num_frames=16).astype(float)
        truth = render_truth(scene)
        for k in (0, 9):
            x, y = columns + truth.flow[k, ..., 0], rows + truth.flow[k, ..., 1]
            seen = (x >= 0) & (x < 127) & (y >= 0) & (y < 79)
            for mask in truth.masks:
                inside = seen & (mask[k] > 0.999)
                there = sample(mask[k + 1][..., None], x[inside], y[inside])
                assert there.min() > 0.5
                assert there.mean() > 0.95
                arrived = sample(frames[k + 1], x[inside], y[inside])
                error = np.abs(arrived - frames[k][inside]).mean()
                moved = np.abs(frames[k + 1][inside] - frames[k][inside]).mean()
                assert error < max(0.6 * moved, 4.0)


@pytest.mark.slow
def test_background_flow_takes_each_frame_to_the_next() -> None:
    rows, columns = np.mgrid[:80, :128]
    for background in BACKGROUNDS:
        scene = of_background(background, things=(), camera="pan left")
        frames = render(scene, num_frames=2).astype(float)
        flow = render_truth(scene, num_frames=2).flow[0]
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        seen = (x >= 0) & (x < 127) & (y < 79)
        error = np.abs(sample(frames[1], x[seen], y[seen]) - frames[0][seen]).mean()
        unmoved = np.abs(frames[1][seen] - frames[0][seen]).mean()
        assert error < 0.55 * unmoved


def sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values of H W C at points inside."""
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    y1 = np.minimum(y0 + 1, len(image) - 1)
    a, b = (x - x0)[:, None], (y - y0)[:, None]
    top = image[y0, x0] * (1 - a) + image[y0, x0 + 1] * a
    return top * (1 - b) + (image[y1, x0] * (1 - a) + image[y1, x0 + 1] * a) * b


@pytest.mark.slow
@pytest.mark.parametrize("colour", COLOURS)
def test_a_thing_shows_its_colour(colour: str) -> None:
    """The commonest colour over the face of even the smallest thing is nearest to its name."""
    for shape in (*SHAPES, *IMAGE_ONLY_SHAPES):
        things = tuple(
            Thing(shape, colour, "small", texture, "still", "normal", 0.3 + 0.5 * index, 0.5)
            for index, texture in enumerate(TEXTURES)
        )
        scene = of_background("night", things=things, relation="")
        frame = render(scene, num_frames=1)[0]
        for mask in render_truth(scene, num_frames=1).masks:
            face = lab(frame[mask[0] > 0.99])
            distances = [np.linalg.norm(face - lab(INK[name]), axis=-1) for name in COLOURS]
            votes = np.bincount(np.argmin(distances, 0), minlength=len(COLOURS))
            assert COLOURS[int(votes.argmax())] == colour


def test_shapes_differ_when_small() -> None:
    faces = {}
    for shape in (*SHAPES, *IMAGE_ONLY_SHAPES):
        thing = Thing(shape, "red", "small", "plain", "still", "normal", 0.8, 0.5)
        scene = of_background("night", things=(thing,), relation="")
        faces[shape] = render_truth(scene, num_frames=1).masks[0, 0]
        assert 20 <= max(map(np.ptp, np.nonzero(faces[shape] > 0.5))) + 1 <= 30
    for one, a in faces.items():
        for other, b in faces.items():
            overlap = np.minimum(a, b).sum() / np.maximum(a, b).sum()
            assert one == other or overlap < 0.87


@pytest.mark.parametrize("style", STYLES)
def test_styles_keep_the_size_and_change_the_picture(style: str) -> None:
    scene = of_background("meadow")
    plain = render(scene, num_frames=1, height=50, width=70)
    styled = render(replace(scene, style=style), num_frames=1, height=50, width=70)
    assert styled.shape == plain.shape
    assert styled.dtype == np.uint8
    change = np.abs(styled.astype(int) - plain).mean()
    assert change == 0 if style == "none" else change > 10


@pytest.mark.parametrize(
    "asked",
    [
        {"num_frames": 0},
        {"fps": 0.0},
        {"fps": float("nan")},
        {"height": 0},
        {"crop": (0, 0, 81, 8)},
    ],
)
def test_what_cannot_be_rendered_is_refused(asked: dict[str, object]) -> None:
    scene = draw_scene(0, split="test")
    with pytest.raises(RequestError, match=r"cannot be rendered|is not a part of"):
        render(scene, **asked)
    with pytest.raises(RequestError, match=r"cannot be rendered|is not a part of"):
        render_truth(scene, **asked)
