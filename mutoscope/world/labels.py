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


def covers(
    scenes: Sequence[Scene], *, num_frames: int, fps: float, grid: tuple[int, int] = (10, 16)
) -> NDArray[np.int64]:
    """Which thing lies at each place of a grid over the frame (B, F, h, w); MAX_THINGS is none.

    A place belongs to the thing whose centre is within 0.4 of its diameter.
    """
    y, x = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    y, x = (y + 0.5) / grid[0], (x + 0.5) / grid[1] * world.ASPECT
    table = np.full((len(scenes), num_frames, len(x)), MAX_THINGS)
    paths = courses(scenes, num_frames=num_frames, fps=fps)
    for row, scene in enumerate(scenes):
        for slot in range(len(scene.things)):
            there_x, there_y, diameter = paths[row, :, slot].T[..., None]
            table[row][np.hypot(x - there_x, y - there_y) < 0.4 * diameter] = slot
    return table.reshape(len(scenes), num_frames, *grid)


def courses(scenes: Sequence[Scene], *, num_frames: int, fps: float) -> NDArray[np.float32]:
    """Centre (x, y) and diameter of each thing in each frame (B, F, MAX_THINGS, 3), in frame
    heights; NaN where there is no second thing."""
    times = np.arange(num_frames) / fps
    table = np.full((len(scenes), num_frames, MAX_THINGS, 3), np.nan, np.float32)
    for row, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.things):
            x, y = thing.course.position(thing.x, thing.y, times)
            table[row, :, slot] = np.stack([x, y, thing.course.diameter(times)], axis=-1)
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
