"""Which combinations of factors are held out of training, and the numbers behind each seed."""

import hashlib
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mutoscope.world.factors import COLOURS, MOTIONS, SHAPES, Kind, Split

T = TypeVar("T")
MOVING = tuple(motion for motion in MOTIONS if motion != "still")

# One colour of each shape and one shape of each motion: an eighth of the pairs. Steps of 3 and 5
# have no divisor in common with 8, so each colour and each shape loses equally much. "still" keeps
# every shape, for a still thing in a clip looks like the same thing in an image.
HELD_OUT_COLOURS = {
    shape: COLOURS[(3 * index + 1) % len(COLOURS)] for index, shape in enumerate(SHAPES)
}
HELD_OUT_SHAPES = {
    motion: SHAPES[(5 * index + 2) % len(SHAPES)] for index, motion in enumerate(MOVING)
}


def held_out(shape: str, colour: str, motion: str) -> bool:
    """Whether a thing with these three is kept out of the train and test splits."""
    return HELD_OUT_COLOURS.get(shape) == colour or HELD_OUT_SHAPES.get(motion) == shape


class Draws:
    """Numbers in [0, 1) that depend on the words given and on nothing else.

    Raw words of PCG64 rather than numpy's distributions, whose streams may change with its version.

    Args:
        *words: Anything that prints; the split and the kind are among them, so that the same seed
            in two splits gives unrelated numbers.
    """

    def __init__(self, *words: object) -> None:
        digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
        self._bits = np.random.PCG64(int.from_bytes(digest[:16], "little"))

    def many(self, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1)."""
        raw = np.asarray(self._bits.random_raw(count), np.uint64)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def one(self) -> float:
        """One number in [0, 1)."""
        return int(self._bits.random_raw() >> 11) * 2.0**-53

    def pick(self, options: tuple[T, ...]) -> T:
        """One of `options`, each as likely."""
        return options[int(self.one() * len(options))]

    def between(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        return low + (high - low) * self.one()


def scene_draws(seed: int, split: Split, kind: Kind) -> Draws:
    """The numbers from which `draw_scene` makes the scene of this seed."""
    return Draws("mutoscope world 1", split, kind, seed)
