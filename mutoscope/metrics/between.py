"""How near the frames between key frames come to the truth, where things move."""

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

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


def displacement(
    video: Video, truth: Video, where: Bool[Tensor, "B F H W"], *, reach: int
) -> Float[Tensor, "B F"]:
    """How far what `truth` shows in a region lies away from there in `video`, pixels.

    The region of each true frame is laid over the frame of the video, moved by whole pixels up to
    `reach` either way, until the squared difference is least. A ghost half there at each of two
    places counts as one of them; of places that fit alike the nearest counts.

    Args:
        video: Pixels in [-1, 1].
        truth: What they should be.
        where: The thing whose place is asked for.
        reach: The farthest that is looked, pixels in height and in width.

    Returns:
        The distance for each frame; NaN where the region is empty.
    """
    batch, channels, frames = video.shape[:3]
    if not where.any():
        return video.new_full((batch, frames), torch.nan)
    padded = functional.pad(video, (reach,) * 4 + (0, 0), mode="replicate")
    rows, columns = (_extent(where.flatten(0, 1).any(dim=0).any(dim=axis)) for axis in (1, 0))
    inside = where[..., slice(*rows), slice(*columns)]
    weight = inside.to(video).flatten(0, 1)[:, None]  # (B F) 1 h w
    shown = truth[..., slice(*rows), slice(*columns)].transpose(1, 2).flatten(0, 1) * weight
    around = padded[..., rows[0] : rows[1] + 2 * reach, columns[0] : columns[1] + 2 * reach]
    seen = rearrange(around, "b c f h w -> 1 (b f c) h w")
    # The sum over the region of (video moved - truth)^2, without the square of the truth.
    groups = batch * frames
    squared = reduce(seen.square(), "1 (g c) h w -> 1 g h w", "sum", c=channels)
    error = functional.conv2d(squared, weight, groups=groups)[0]
    error = error - 2 * functional.conv2d(seen, shown, groups=groups)[0]
    away = torch.arange(-reach, reach + 1, device=video.device, dtype=video.dtype)
    distance = torch.hypot(away[:, None], away[None, :])
    # Rounding decides between places that fit alike; a thousandth of a grey level more for each
    # pixel of distance decides instead.
    penalty = 1e-5 * distance * weight.sum(dim=(1, 2, 3))[:, None, None]
    nearest = (error + penalty).flatten(1).argmin(dim=1)
    found = distance.flatten()[nearest].view(batch, frames)
    return torch.where(where.any(dim=-1).any(dim=-1), found, torch.nan)


def _extent(there: Bool[Tensor, " N"]) -> tuple[int, int]:
    """From the first to after the last True."""
    places = there.nonzero().flatten()
    return int(places[0]), int(places[-1]) + 1


def blended(keys: Float[Tensor, "B C K H W"], *, factor: int) -> Float[Tensor, "B C F H W"]:
    """Key frames at `factor` times their rate, each frame a mean of its two neighbours by time."""
    times = torch.arange(factor * (keys.shape[2] - 1) + 1, device=keys.device)
    before = times // factor
    after = (before + 1).clamp(max=keys.shape[2] - 1)
    share = (times % factor / factor).to(keys.dtype)[:, None, None]
    return torch.lerp(keys[:, :, before], keys[:, :, after], share)
