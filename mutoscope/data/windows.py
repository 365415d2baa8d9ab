"""Batches of windows: of each cached clip a stretch of time and a part of the frame."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mutoscope.data.batches import pick_captions, shuffled
from mutoscope.data.cache import LatentCache
from mutoscope.errors import RequestError
from mutoscope.types import Batch


@dataclass(frozen=True, kw_only=True)
class WindowBatches:
    """Batches of windows into cached clips, so that a step on long clips costs little.

    A network without positions in space can be trained on parts of frames and draw whole ones
    (LaVie §4.2 trains on 256x256 of 320x512 pixels). A window may begin at any frame of its clip.

    Attributes:
        cache: The clips.
        batch_size: Windows a batch, each of another clip.
        num_frames: Frames of a window.
        height, width: Of a window, in latent cells.
        seed: Of the order of the clips and the places of the windows.
        backwards: Share of the windows that run from their last frame to their first. Of what is
            learned between frames little footage then teaches twice as much; what captions say of
            directions is not true of these.

    Raises:
        RequestError: A batch is asked for whose windows are longer or larger than the clips.
    """

    cache: LatentCache
    batch_size: int
    num_frames: int
    height: int
    width: int
    seed: int
    backwards: float = 0.0

    def __call__(self, number: int) -> Batch:
        members = shuffled(len(self.cache), self.batch_size, number, self.seed)
        draw = np.random.default_rng([self.seed, number, 3])
        captions = pick_captions(self.cache, members, draw)
        clips = self.cache.latents(members)
        return Batch(
            captions=tuple(captions),
            latents=torch.stack([self._window(clip, draw) for clip in clips]),
        )

    def _window(self, clip: Tensor, draw: np.random.Generator) -> Tensor:
        """A window of one clip (C F h w)."""
        sides = (self.num_frames, self.height, self.width)
        room = [whole - side for whole, side in zip(clip.shape[1:], sides, strict=True)]
        if min(room) < 0:
            raise RequestError(
                f"windows of {self.num_frames} frames of {self.height}x{self.width} cells cannot "
                f"be cut from clips of {clip.shape[1]} frames of {clip.shape[2]}x{clip.shape[3]}. "
                "Use smaller windows."
            )
        first, top, left = (int(draw.integers(most + 1)) for most in room)
        window = clip[
            :,
            first : first + self.num_frames,
            top : top + self.height,
            left : left + self.width,
        ]
        # Where none are to be turned nothing is drawn, so that older recipes see what they saw.
        turned = self.backwards > 0 and draw.random() < self.backwards
        return window.flip(1) if turned else window
