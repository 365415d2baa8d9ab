"""Clips as a stock library previews them: small, and with a watermark (WebVid's are)."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mutoscope.data.sources import ClipSource, Frames
from mutoscope.errors import RequestError
from mutoscope.types import Size
from mutoscope.video.frames import fit
from mutoscope.video.mark import marked


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A source of small clips, scaled up, with a half transparent mark at a fixed place.

    LaVie is first trained on WebVid10M, whose clips are small and bear their library's name, and
    later on clean clips of higher resolution.

    Attributes:
        clips: The clips, best at a lower resolution than `size`.
        size: Frame size of what comes out.
        opacity: Of the mark, above 0 and at most 1.

    Raises:
        RequestError: The opacity lies elsewhere.

    Source: LaVie (arXiv 2309.15103) §3, §5.1.
    """

    clips: ClipSource
    size: Size
    opacity: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.opacity <= 1:
            raise RequestError(
                f"a mark of opacity {self.opacity} cannot be drawn: it is above 0 and at most 1. "
                "Use e.g. 0.5, or the clips as they are for none."
            )

    def __len__(self) -> int:
        return len(self.clips)

    def key(self) -> str:
        """Hash of the clips' key, of the settings and of the mark's own pixels."""
        height, width = self.size.height, self.size.width
        pixels = marked(np.zeros((1, height, width, 3), np.uint8), opacity=self.opacity)
        digest = hashlib.sha256(f"{self.clips.key()} {self.size} {self.opacity}".encode())
        digest.update(pixels.tobytes())
        return digest.hexdigest()[:16]

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        """Frames of the clip with the mark, and its captions, which say nothing of it."""
        frames, captions = self.clips.clip(index)
        return marked(fit(frames, self.size), opacity=self.opacity), captions

    def things(self, index: int, grid: tuple[int, int]) -> NDArray[np.bool_] | None:
        """As the clips have it: a grid over the frame knows no pixels."""
        return self.clips.things(index, grid)
