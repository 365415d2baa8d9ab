"""A concept that no split has: what a finished model is taught, and how well is measured."""

from dataclasses import replace

import numpy as np

from mutoscope.world.factors import SHAPES, TEXTURES, UNSEEN_SHAPE, UNSEEN_TEXTURE, Split
from mutoscope.world.scene import Scene, draw_scene


def unseen_scene(seed: int, *, split: Split = "train") -> Scene:
    """A still of one checked hourglass, in place of the first thing of a seed's scene.

    Args:
        seed: Any integer; colour, size, place and background are those of its scene.
        split: Of that scene: pictures to teach with and to test with should not share one.
    """
    scene = draw_scene(seed, split=split, kind="image")
    thing = replace(scene.things[0], shape=UNSEEN_SHAPE, texture=UNSEEN_TEXTURE)
    return replace(scene, things=(thing,), relation="", style="none")


def with_any_shape(seed: int, *, split: Split) -> Scene:
    """A still of one thing of any shape and texture, known or unseen; two in five are unseen each.

    What tells the unseen shape apart is not its texture, then, nor the other way round.

    Args:
        seed: Any integer; colour, size, place and background are those of its scene.
        split: Of that scene.
    """
    scene, draw = draw_scene(seed, split=split, kind="image"), np.random.default_rng(seed)
    unseen, shape, texture = draw.random(2) < 0.4, draw.choice(SHAPES), draw.choice(TEXTURES)
    thing = replace(
        scene.things[0],
        shape=UNSEEN_SHAPE if unseen[0] else str(shape),
        texture=UNSEEN_TEXTURE if unseen[1] else str(texture),
    )
    return replace(scene, things=(thing,), relation="", style="none")
