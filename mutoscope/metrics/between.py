"""How near the frames between key frames come to the truth, where things move."""

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor

from mutoscope.types import Video

RANGE = 2.0
"""From the darkest pixel, -1, to the brightest, 1."""


def psnr(video: Video, truth: Video, where: Bool[Tensor, "B F H W"]) -> Float[Tensor, " B"]:
    """Peak signal-to-noise ratio of each video over a region, dB.

    Args:
        video: Pixels in [-1, 1].
        truth: What they should be.
        where: The pixels that count.

    Returns:
        10 log10(range^2 / mean squared error) per video, infinite where there is no error, NaN
        where no pixel counts.
    """
    error = reduce((video - truth).float().square(), "b c f h w -> b f h w", "mean")
    counted = where.to(error)
    mean = (error * counted).flatten(1).sum(dim=1) / counted.flatten(1).sum(dim=1)
    return 10 * torch.log10(RANGE**2 / mean)


def between_keys(num_frames: int, *, factor: int) -> Bool[Tensor, " F"]:
    """True for the frames that lie between key frames, False for those at their times.

    Only the former tell ways of filling in apart: repetition and blending are given the latter.
    """
    return torch.arange(num_frames) % factor != 0


def speed(flow: Float[Tensor, "B F H W 2"]) -> Float[Tensor, "B F+1 H W"]:
    """How fast what each pixel shows moves, in pixels a frame, from the true flow to the next.

    The last frame has no next one; there nothing moves.
    """
    length = flow.norm(dim=-1)
    return torch.cat([length, torch.zeros_like(length[:, :1])], dim=1)


def blended(keys: Float[Tensor, "B C K H W"], *, factor: int) -> Float[Tensor, "B C F H W"]:
    """Key frames at `factor` times their rate, each frame a mean of its two neighbours by time."""
    times = torch.arange(factor * (keys.shape[2] - 1) + 1, device=keys.device)
    before = times // factor
    after = (before + 1).clamp(max=keys.shape[2] - 1)
    share = (times % factor / factor).to(keys.dtype)[:, None, None]
    return torch.lerp(keys[:, :, before], keys[:, :, after], share)
