"""Parts of clips: what is learned on windows of large frames need not be encoded whole."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mutoscope.data.sources import ClipSource, Frames
from mutoscope.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A source whose clips are parts of the frames of another, each at a place of its own.

    Attributes:
        source: The whole clips.
        height, width: Of the parts, in pixels.
        seed: Of the places.
    """

    source: ClipSource
    height: int
    width: int
    seed: int = 0

    def __len__(self) -> int:
        return len(self.source)

    def key(self) -> str:
        """Hash of the whole clips' key and of the settings."""
        settings = f"{self.source.key()} cut {self.height} {self.width} {self.seed}"
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        """The part's frames, and the captions of the whole.

        Raises:
            DataError: The frames are smaller than the part.
        """
        frames, captions = self.source.clip(index)
        room = frames.shape[1] - self.height, frames.shape[2] - self.width
        if min(room) < 0:
            raise DataError(
                f"parts of {self.height}x{self.width} pixels cannot be cut from frames of "
                f"{frames.shape[1]}x{frames.shape[2]}. Use larger frames or smaller parts."
            )
        draw = np.random.default_rng([self.seed, index])
        top, left = (int(draw.integers(most + 1)) for most in room)
        part = frames[:, top : top + self.height, left : left + self.width]
        return np.ascontiguousarray(part), captions

    def things(self, index: int, grid: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Nobody asks yet what parts show."""
        return None
