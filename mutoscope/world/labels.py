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


GRID = (5, 8)


def places(scenes: Sequence[Scene], *, num_frames: int, fps: float) -> NDArray[np.int64]:
    """Which object lies at each place of a 5x8 grid over the frame (B, F, 40), row by row.

    A place belongs to the object whose centre is within 0.4 of its diameter, else it is `UNKNOWN`.
    """
    rows, columns = np.divmod(np.arange(GRID[0] * GRID[1]), GRID[1])
    y, x = (rows + 0.5) / GRID[0], (columns + 0.5) / GRID[1] * world.ASPECT
    times = np.arange(num_frames) / fps
    table = np.full((len(scenes), num_frames, len(x)), UNKNOWN)
    for row, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.things):
            there_x, there_y = thing.course.position(thing.x, thing.y, times)
            distance = np.hypot(x - there_x[:, None], y - there_y[:, None])
            near = distance < 0.4 * thing.course.diameter(times)[:, None]
            # A small object may lie between the centres of four places: it has the nearest.
            near |= distance == distance.min(axis=1, keepdims=True)
            table[row][near] = slot
    return table


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
