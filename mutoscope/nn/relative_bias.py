"""Relative positions: a learned bias on attention scores for each distance between frames."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

NUM_BUCKETS = 32
FARTHEST = 32
"""Distance in frames from which on all distances share a bucket, or nearly so (from 27 on)."""


def relative_buckets(
    num_frames: int, stride: int = 1, device: torch.device | None = None
) -> Int[Tensor, "F_query F_key"]:
    """The number of the bucket that each pair of frames belongs to.

    The first half of the buckets is for keys at or before the query, the second for keys after it.
    Half of each half holds one distance per bucket, 0 to 7; further distances share buckets that
    widen with their logarithm, up to `FARTHEST`.

    Args:
        num_frames: F.
        stride: Distance from one frame to the next.
        device: Where the result is made.

    Source: T5 (arXiv 1910.10683) §2.1; its sizes are those of LaVie's released networks.
    """
    frame = stride * torch.arange(num_frames, device=device)
    ahead = frame[None, :] - frame[:, None]
    half = NUM_BUCKETS // 2
    exact = half // 2
    distance = ahead.abs()
    scale = (half - exact) / math.log(FARTHEST / exact)
    # Clamped from below only because the logarithm is taken of near distances too.
    far = exact + (torch.log(distance.clamp(min=exact) / exact) * scale).long()
    bucket = torch.where(distance < exact, distance, far.clamp(max=half - 1))
    return bucket + half * (ahead > 0)


class RelativePositionBias(nn.Module):
    """One number per head and bucket of distances, added to scaled scores; all start at zero.

    Unlike the frame index itself, the distance says the same in a clip of any length.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(NUM_BUCKETS, num_heads))

    def forward(self, num_frames: int, stride: int = 1) -> Float[Tensor, "K F F"]:
        """The bias of each head on the score of each query frame (rows) for each key frame."""
        buckets = relative_buckets(num_frames, stride, self.weight.device)
        bias: Tensor = self.weight[buckets].permute(2, 0, 1)
        return bias
