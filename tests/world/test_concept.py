"""The concept that no split has can be drawn, and looks like nothing that a split has."""

from dataclasses import replace

import numpy as np

from mutoscope.world import factors
from mutoscope.world.concept import unseen_scene
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene


def test_no_split_has_its_shape_or_texture() -> None:
    assert factors.UNSEEN_SHAPE not in factors.SHAPES + factors.IMAGE_ONLY_SHAPES
    assert factors.UNSEEN_TEXTURE not in factors.TEXTURES


def test_a_still_of_it_differs_from_its_scene_where_the_thing_is() -> None:
    scene = unseen_scene(3, split="test")
    (thing,) = scene.things
    assert (thing.shape, thing.texture) == (factors.UNSEEN_SHAPE, factors.UNSEEN_TEXTURE)
    origin = draw_scene(3, split="test", kind="image").things[0]
    assert (thing.colour, thing.x, thing.y) == (origin.colour, origin.x, origin.y)
    plain = replace(scene, things=(replace(thing, texture="plain"),))
    pictures = [render(each, num_frames=1)[0].astype(int) for each in (scene, plain)]
    differs = np.abs(pictures[0] - pictures[1]).max(axis=2) > 20
    rows, columns = np.nonzero(differs)
    assert len(rows) > 50
    assert np.abs(rows - 80 * thing.y).max() < 80 * factors.OUTLINE * 0.6
    assert np.abs(columns - 80 * thing.x).max() < 80 * factors.OUTLINE * 0.6
