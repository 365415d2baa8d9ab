"""Fold: where the frames of clips and of single images lie in one batch of pictures.

Every spatial layer sees pictures only, `R C H W` in channels-last memory, so that tokens
`R (H W) C` are a view of it. The rows R are all frames of all clips, clip by clip, then all single
images, clip by clip: both parts are slices, and no layer has to copy to treat them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from torch import Tensor

from mutoscope.types import Spacing


@dataclass(frozen=True)
class Fold:
    """`clips` B of `frames` F each, then `images` M single images for each clip; R = B (F + M).

    The frames are every `stride`-th of what the network was made for, from number `first` on; below
    1 there are more of them.
    """

    clips: int
    frames: int
    images: int = 0
    stride: Spacing = 1
    first: int = 0

    @property
    def clip_rows(self) -> int:
        """How many of the rows are frames of clips; the others are single images."""
        return self.clips * self.frames

    @property
    def without_images(self) -> "Fold":
        """The fold of the clips' rows alone, as `split` hands them to time layers."""
        return replace(self, images=0)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The rows (R ...) that are frames of clips (B F ...), and the single images (B M ...)."""
        return rows[: self.clip_rows], rows[self.clip_rows :]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Undoes `split`; without images it is the first part itself, not a copy."""
        return torch.cat(list(parts)) if self.images else parts[0]

    def fold(self, video: Tensor) -> Tensor:
        """`B C (F + M) H W` as rows `R C H W` in channels-last memory."""
        clips, images = video.split([self.frames, self.images], dim=2)
        rows = self.join([rearrange(part, "B C F H W -> (B F) C H W") for part in (clips, images)])
        return rows.contiguous(memory_format=torch.channels_last)

    def unfold(self, rows: Tensor) -> Tensor:
        """Undoes `fold`: `R C H W` as a contiguous `B C (F + M) H W`."""
        parts = [
            rearrange(part, "(B F) C H W -> B C F H W", B=self.clips) for part in self.split(rows)
        ]
        return torch.cat(parts, dim=2) if self.images else parts[0].contiguous()

    def fold_text(self, text: Tensor) -> Tensor:
        """`B (1 + M) L ...` as text rows `(B + B M) L ...`: all clips' texts, then all images'."""
        return self.join([text[:, 0], text[:, 1:].flatten(0, 1)])

    def per_row(self, per_clip: Tensor) -> Tensor:
        """What is told to each clip (B C), told to each of its frames and images (R C)."""
        return self.join(
            [repeat(per_clip, "B C -> (B F) C", F=frames) for frames in (self.frames, self.images)]
        )
