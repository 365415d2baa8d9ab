"""Scenes: what is drawn, how often, and what is never drawn."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mutoscope.world.factors import (
    BACKGROUNDS,
    COLOURS,
    HEADING,
    IMAGE_ONLY_SHAPES,
    MOTIONS,
    SHAPES,
    SIZES,
    SPEEDS,
    TEXTURES,
    TRAVEL,
)
from mutoscope.world.render import render_truth
from mutoscope.world.scene import (
    TIMES,
    Scene,
    draw_scene,
    excluded,
    excluded_combinations,
)
from mutoscope.world.splits import HELD_OUT_COLOURS, HELD_OUT_SHAPES

SPLITS = ("train", "test", "held-out")
KINDS = ("video", "image")


@pytest.fixture(scope="module")
def videos() -> list[Scene]:
    return [draw_scene(seed, split="train") for seed in range(1000)]


@pytest.fixture(scope="module")
def images() -> list[Scene]:
    return [draw_scene(seed, split="train", kind="image") for seed in range(700)]


@pytest.mark.slow
def test_a_seed_gives_one_scene_and_splits_and_kinds_are_unrelated() -> None:
    for seed in (-1, 0, 7, 10**12):
        assert draw_scene(seed, split="train") == draw_scene(seed, split="train")
    for seed in range(50):
        looks = {
            draw_scene(seed, split=split, kind=kind).look for split in SPLITS for kind in KINDS
        }
        assert len(looks) == 6


@pytest.mark.slow
def test_no_scene_of_one_split_occurs_in_another() -> None:
    train = {(s.look, s.things) for s in (draw_scene(i, split="train") for i in range(150))}
    test = {(s.look, s.things) for s in (draw_scene(i, split="test") for i in range(150))}
    assert not train & test
    assert len(train) == len(test) == 150


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_held_out_combinations_occur_in_their_split_only(kind: str) -> None:
    for seed in range(150):
        for split in SPLITS:
            scene = draw_scene(seed, split=split, kind=kind)
            kept = [
                HELD_OUT_COLOURS.get(t.shape) == t.colour
                or HELD_OUT_SHAPES.get(t.motion) == t.shape
                for t in scene.things
            ]
            assert any(kept) == (split == "held-out")


def test_every_shape_colour_and_motion_loses_about_as_much() -> None:
    assert sorted(HELD_OUT_COLOURS.values()) == sorted(COLOURS)
    losses = Counter(HELD_OUT_SHAPES.values())
    assert set(losses) == set(SHAPES)
    assert max(losses.values()) <= 2
    pairs = len(HELD_OUT_COLOURS) / (len(SHAPES) * len(COLOURS))
    assert 0.10 <= pairs <= 0.15
    names = {name for name, _ in excluded_combinations()}
    assert not names & {f"plain {shape} + {motion}" for motion, shape in HELD_OUT_SHAPES.items()}


@pytest.mark.slow
def test_factors_are_near_uniform(videos: list[Scene]) -> None:
    tables = {
        "shape": SHAPES,
        "colour": COLOURS,
        "size": SIZES,
        "texture": TEXTURES,
        "motion": MOTIONS,
    }
    singles = [s.things[0] for s in videos if s.arrangement == "single"]
    paired = [t for s in videos if s.arrangement != "single" for t in s.things]
    for factor, values in tables.items():
        alone = Counter(getattr(thing, factor) for thing in singles)
        pairs = Counter(getattr(thing, factor) for thing in paired)
        for value in values:
            # One thing: uniform but for what is excluded and held out. Two: large and far-reaching
            # ones fit less often.
            assert alone[value] / len(singles) * len(values) == pytest.approx(1.0, abs=0.4)
            assert 0.35 <= pairs[value] / len(paired) * len(values) <= 2.2
    moving = Counter(t.speed for t in singles if t.motion != "still")
    assert all(abs(moving[s] * 3 / moving.total() - 1) < 0.15 for s in SPEEDS)
    for background, count in Counter(s.background for s in videos).items():
        assert background in BACKGROUNDS
        assert count / len(videos) * 6 == pytest.approx(1.0, abs=0.25)
    cameras = Counter(s.camera for s in videos)
    assert all(abs(cameras[c] * 3 / cameras.total() - 1) < 0.15 for c in cameras)
    kinds = Counter(s.arrangement for s in videos)
    assert kinds["single"] / len(videos) == pytest.approx(0.65, abs=0.04)
    assert kinds["horizontal"] / len(videos) == pytest.approx(0.175, abs=0.03)


@pytest.mark.slow
def test_image_only_concepts_occur_in_images_only(videos: list[Scene], images: list[Scene]) -> None:
    assert {s.style for s in videos} == {"none"}
    assert {t.shape for s in videos for t in s.things} == set(SHAPES)
    styled = np.mean([s.style != "none" for s in images])
    shaped = np.mean([any(t.shape in IMAGE_ONLY_SHAPES for t in s.things) for s in images])
    assert styled == pytest.approx(0.2, abs=0.03)
    assert shaped == pytest.approx(0.2, abs=0.03)
    for scene in images:
        assert scene.camera == "still"
        assert all((t.motion, t.speed) == ("still", "normal") for t in scene.things)


@pytest.mark.slow
def test_nothing_excluded_is_drawn(videos: list[Scene], images: list[Scene]) -> None:
    drawn = [*videos, *images, *(draw_scene(i, split="held-out") for i in range(300))]
    assert [reason for reason in map(excluded, drawn) if reason] == []


@pytest.mark.slow
def test_excluded_names_what_is_wrong(videos: list[Scene]) -> None:
    scene = next(s for s in videos if s.arrangement == "horizontal")
    one, other = scene.things
    swapped = replace(scene, things=(other, one))
    assert excluded(swapped) == "the things touch, or their relation does not last"
    gone = replace(scene, things=(replace(one, motion="still", x=-0.2), other))
    assert excluded(gone) == "a thing leaves the frame"
    twin = replace(scene, things=(one, replace(other, shape=one.shape, colour=one.colour)))
    assert "same shape and colour" in (excluded(twin) or "")
    ring = replace(one, shape="ring", texture="plain", motion="spin")
    assert "however it spins" in (excluded(replace(scene, things=(ring,), relation="")) or "")
    white = replace(scene, background="snow", things=(replace(one, colour="white"),), relation="")
    assert "too close to the colours" in (excluded(white) or "")


@pytest.mark.slow
def test_relation_lasts_and_things_stay_apart_by_their_masks(videos: list[Scene]) -> None:
    for scene in [s for s in videos if s.arrangement != "single"][:15]:
        masks = render_truth(scene).masks
        assert not ((masks[0] > 0) & (masks[1] > 0)).any()
        axis = 1 if scene.arrangement == "horizontal" else 0
        centres = [[np.mean(np.nonzero(frame > 0.5)[axis]) for frame in each] for each in masks]
        assert (np.subtract(centres[1], centres[0]) > 6).all()


@pytest.mark.slow
def test_things_stay_visible(videos: list[Scene]) -> None:
    for scene in videos[:35]:
        masks = render_truth(scene).masks
        for thing, mask in zip(scene.things, masks, strict=True):
            upright = replace(thing, motion="still", x=0.8, y=0.5)
            alone = replace(scene, things=(upright,))
            whole = render_truth(alone, num_frames=1).masks.sum()
            scale = thing.course.diameter(TIMES) / upright.course.diameter(TIMES)
            assert (mask.sum((1, 2)) / (whole * scale**2)).min() > 0.66


@pytest.mark.slow
def test_slowest_motion_crosses_three_latent_cells_and_speeds_are_apart(
    videos: list[Scene],
) -> None:
    for scene in videos[:250]:
        for thing in scene.things:
            x, y = thing.course.position(thing.x, thing.y, TIMES)
            path = 80 * np.hypot(np.diff(x), np.diff(y)).sum()
            if thing.motion in HEADING:
                assert path == pytest.approx(80 * TRAVEL[thing.speed])
            if thing.motion in (*HEADING, "bounce", "orbit"):
                assert path >= 24
            if thing.motion in ("grow", "shrink"):
                assert 80 * np.ptp(thing.course.diameter(TIMES)) >= 23.99
    assert TRAVEL["normal"] / TRAVEL["slow"] > 1.35
    assert TRAVEL["fast"] / TRAVEL["normal"] > 1.35


@pytest.mark.slow
def test_directions_are_those_seen_in_the_frame(videos: list[Scene]) -> None:
    signs = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
    for motion in HEADING:
        scene = next(s for s in videos if s.things[0].motion == motion and len(s.things) == 1)
        frames = render_truth(scene).masks[0] > 0.5
        ends = [np.mean(np.nonzero(frames[k]), axis=1) for k in (0, -1)]
        down, right = ends[1] - ends[0]
        wanted = np.sum([signs[word] for word in motion.split()], axis=0)
        assert [round(np.sign(v)) if abs(v) > 8 else 0 for v in (right, down)] == list(wanted)


def test_other_words_for_a_split_are_refused() -> None:
    # In a process of its own: here the type checker of the tests would refuse the word first.
    code = "from mutoscope.world.scene import draw_scene; draw_scene(0, split='validation')"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stderr
    assert b"RequestError: split='validation'" in printed
    assert b"the splits are train, test and held-out" in printed


def test_the_document_lists_what_is_excluded_and_held_out() -> None:
    text = (Path(__file__).parents[2] / "docs" / "world.md").read_text()
    for name, reason in excluded_combinations():
        assert f"| {name} | {reason} |" in text
    for shape, colour in HELD_OUT_COLOURS.items():
        assert f"| {shape} | {colour} |" in text
    for motion, shape in HELD_OUT_SHAPES.items():
        assert f"| {motion} | {shape} |" in text
