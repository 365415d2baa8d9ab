"""Stills as clips: a picture seen by a camera that a hand holds (LaVie, arXiv 2309.15103 §4.3)."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mutoscope.data.sources import ClipSource, Frames
from mutoscope.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Shaken:
    """A source of stills, as clips of a window that wanders over each still.

    The window moves by whole pixels on a path that is smooth and comes back: its speed is pulled
    towards zero and pushed at random, and its place is pulled towards the middle.

    Attributes:
        stills: The pictures.
        num_frames: Frames of a clip.
        margin: Pixels by which the window may leave the middle; a clip is smaller than its still by
            twice that on each axis.
        reach: How far it wanders, as a standard deviation in pixels.
        seed: Of the paths.
    """

    stills: ClipSource
    num_frames: int
    margin: int = 32
    reach: float = 10.0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.stills)

    def key(self) -> str:
        """Hash of the stills' key and of the paths' settings."""
        settings = f"{self.stills.key()} {self.num_frames} {self.margin} {self.reach} {self.seed}"
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        """Frames of the wandering window and the still's captions.

        Raises:
            DataError: The still is no larger than its margins.
        """
        (still, *_), captions = self.stills.clip(index)
        height, width = (side - 2 * self.margin for side in still.shape[:2])
        if min(height, width) < 1:
            raise DataError(
                f"a still of {still.shape[0]}x{still.shape[1]} pixels leaves nothing within "
                f"margins of {self.margin} pixels. Use larger stills or a smaller margin."
            )
        corners = (self.margin + self.path(index)).tolist()
        windows = [still[top : top + height, left : left + width] for top, left in corners]
        return np.stack(windows), captions

    def path(self, index: int) -> NDArray[np.int64]:
        """Where the window lies in each frame, (down, right) from the middle in pixels, F 2."""
        draw = np.random.default_rng([self.seed, index])
        place = draw.normal(0, self.reach, 2)
        speed = draw.normal(0, 0.15 * self.reach, 2)
        places = []
        for _ in range(self.num_frames):
            places.append(place)
            push = draw.normal(0, 0.05 * self.reach, 2)
            speed = 0.9 * speed - 0.02 * place + push
            place = place + speed
        return np.clip(np.rint(places), -self.margin, self.margin).astype(np.int64)

    def things(self, index: int, grid: tuple[int, int]) -> None:
        """Not known: the window moves."""
        return None
