"""Absolute positions in time: the number of a frame, added to its tokens (not what LaVie has)."""

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from mutoscope.errors import RequestError
from mutoscope.nn.embeddings import sinusoid

AbsolutePositions = Literal["none", "sinusoidal", "learned"]
LONGEST = 64
"""Rows of a learned table; the row of a frame that training never showed stays a random one."""


def numbered(tokens: Tensor, numbers: Tensor, *, num_clips: int) -> Tensor:
    """Adds a vector for each frame (F C) to all places of that frame in every clip, `R N C`."""
    clips = rearrange(tokens, "(B F) N C -> B F N C", B=num_clips)
    return rearrange(clips + numbers[:, None].to(tokens.dtype), "B F N C -> (B F) N C")


class SinusoidalPositions(nn.Module):
    """The sinusoid of the Transformer, defined for a clip of any length; nothing is learned.

    Source: Vaswani et al. (arXiv 1706.03762) §3.5; cosines first, as noise times have them here.
    """

    def forward(self, tokens: Tensor, *, num_clips: int, stride: int = 1, first: int = 0) -> Tensor:
        """`R N C` -> `R N C`."""
        numbers = frame_numbers(tokens, num_clips=num_clips, stride=stride, first=first)
        return numbered(tokens, sinusoid(numbers.float(), tokens.shape[-1]), num_clips=num_clips)


class LearnedPositions(nn.Module):
    """One learned vector for each of the first `LONGEST` frames.

    Args:
        width: Channels C.

    Source: BERT (arXiv 1810.04805) §3.2, whose spread they start with.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(0.02 * torch.randn(LONGEST, width))

    def forward(self, tokens: Tensor, *, num_clips: int, stride: int = 1, first: int = 0) -> Tensor:
        """`R N C` -> `R N C`.

        Raises:
            RequestError: A frame has a number beyond the table.
        """
        numbers = frame_numbers(tokens, num_clips=num_clips, stride=stride, first=first)
        last = first + stride * (len(numbers) - 1)
        if last >= LONGEST:
            raise RequestError(
                f"frame {last} has no place in a table of {LONGEST} learned positions. Use shorter "
                "clips, or a network with other positions."
            )
        return numbered(tokens, self.embedding[numbers], num_clips=num_clips)


def frame_numbers(tokens: Tensor, *, num_clips: int, stride: int, first: int) -> Tensor:
    """Number of each frame of a clip in what it was taken from (F), for tokens `(B F) N C`."""
    frames = tokens.shape[0] // num_clips
    return first + stride * torch.arange(frames, device=tokens.device)


def positions(kind: AbsolutePositions, width: int) -> nn.Module | None:
    """The layer that adds positions of this kind to tokens of this width; None for "none"."""
    if kind == "none":
        return None
    return SinusoidalPositions() if kind == "sinusoidal" else LearnedPositions(width)
