"""A concept that no split has: what a finished model is taught, and how well is measured."""

from dataclasses import replace

from mutoscope.world.factors import UNSEEN_SHAPE, UNSEEN_TEXTURE, Split
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
