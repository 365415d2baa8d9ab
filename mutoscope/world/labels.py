"""Truth as class numbers: the factors that can be read from a clip, and their values in order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mutoscope.world import factors as world
from mutoscope.world.scene import Scene

THING_FACTORS: dict[str, tuple[str, ...]] = {
    "shape": world.SHAPES + world.IMAGE_ONLY_SHAPES,
    "colour": world.COLOURS,
    "size": world.SIZES,
    "texture": world.TEXTURES,
    "motion": world.MOTIONS,
    "speed": world.SPEEDS,
}
SCENE_FACTORS: dict[str, tuple[str, ...]] = {
    "background": world.BACKGROUNDS,
    "arrangement": world.ARRANGEMENTS,
    "camera": world.CAMERAS,
    "style": world.STYLES,
}
MOVING_FACTORS = ("motion", "speed", "camera")
MAX_THINGS = 2
UNKNOWN = -1


def labels(scenes: Sequence[Scene]) -> dict[str, NDArray[np.int64]]:
    """Class numbers of every factor: scene factors (B,), thing factors (B, MAX_THINGS).

    `UNKNOWN` stands where there is no second object, or no speed because the object stands still.
    """
    table = {
        name: np.array([values.index(getattr(scene, name)) for scene in scenes])
        for name, values in SCENE_FACTORS.items()
    }
    for name, values in THING_FACTORS.items():
        table[name] = np.full((len(scenes), MAX_THINGS), UNKNOWN)
        for row, scene in enumerate(scenes):
            for slot, thing in enumerate(scene.things):
                value = getattr(thing, name)
                if not (name == "speed" and thing.motion == "still"):
                    table[name][row, slot] = values.index(value)
    return table
