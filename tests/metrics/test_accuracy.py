"""Scores bind attributes to their objects; intervals cover what they say."""

from dataclasses import replace

import numpy as np

from mutoscope.metrics.accuracy import accuracy, confusion, score
from mutoscope.metrics.oracle import Reading
from mutoscope.world.scene import Scene, draw_scene


def reading_of(scene: Scene) -> Reading:
    things = tuple(
        {name: getattr(thing, name) for name in ("shape", "colour", "motion")}
        for thing in scene.things
    )
    return Reading({"background": scene.background}, things)


def scene_of_two() -> Scene:
    return next(
        scene
        for scene in (draw_scene(seed, split="test") for seed in range(100))
        if len(scene.things) == 2 and scene.things[0].colour != scene.things[1].colour
    )


def test_the_truth_scores_full_marks() -> None:
    for seed in range(20):
        scene = draw_scene(seed, split="test")
        assert all(score(scene, reading_of(scene)).values())


def test_swapped_objects_are_wrong() -> None:
    scene = scene_of_two()
    seen = reading_of(scene)
    swapped = replace(seen, things=seen.things[::-1])
    assert not score(scene, swapped)["colour"]
    assert score(scene, swapped)["background"]
    assert not score(scene, swapped)["all"]


def test_a_missing_object_is_wrong() -> None:
    scene = scene_of_two()
    seen = reading_of(scene)
    assert not score(scene, replace(seen, things=seen.things[:1]))["shape"]


def test_intervals_cover_the_share_and_heed_the_prompts() -> None:
    draw = np.random.default_rng(0)
    covered = 0
    for trial in range(60):
        rows = [{"all": bool(right)} for right in draw.random(150) < 0.7]
        found = accuracy(rows, list(range(150)), seed=trial)["all"]
        covered += found.low <= 0.7 <= found.high
    assert covered >= 51
    # The same answers given twice per prompt are no more evidence than once.
    rows = [{"all": bool(right)} for right in draw.random(100) < 0.5]
    once = accuracy(rows, list(range(100)))["all"]
    twice = accuracy(rows + rows, list(range(100)) * 2)["all"]
    assert abs((once.high - once.low) - (twice.high - twice.low)) < 0.02
    assert twice.count == 200


def test_confusion_counts_truth_in_rows() -> None:
    matrix = confusion(["a", "a", "b"], ["a", "b", "b"], ("a", "b"))
    assert matrix.tolist() == [[1, 1], [0, 1]]
