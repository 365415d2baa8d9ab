"""How near an enlarged video comes to the true large one: on edges, and where nothing changes."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mutoscope.types import Video

EDGE = 0.25
"""Least slope of an edge, brightness a pixel; black is -1, white is 1."""
_REACH = 2
_SOBEL = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8


def edges(truth: Video) -> Bool[Tensor, "B F H W"]:
    """Pixels within two of one where the grey of the true frame changes by `EDGE` a pixel or more.

    The slope is that of a Sobel filter, which takes the mean over three rows, or columns.
    """
    grey = rearrange(truth.float().mean(dim=1), "b f h w -> (b f) 1 h w")
    kernels = torch.stack([_SOBEL, _SOBEL.T])[:, None].to(grey)
    slope = functional.conv2d(functional.pad(grey, (1,) * 4, mode="replicate"), kernels)
    steep = (slope.norm(dim=1, keepdim=True) >= EDGE).float()
    near = functional.max_pool2d(steep, 2 * _REACH + 1, stride=1, padding=_REACH) > 0
    return rearrange(near, "(b f) 1 h w -> b f h w", b=truth.shape[0])


def flicker(video: Video, truth: Video) -> Float[Tensor, " B"]:
    """How much pixels that do not change in the truth change from a frame to the next.

    Args:
        video: Pixels in [-1, 1].
        truth: The video as it should be, exact: with one level of noise nothing in it is still.

    Returns:
        The mean absolute change in grey levels, 0 to 255; NaN where no pixel of the truth stays as
        it is from any frame to the next.
    """
    still = (truth.diff(dim=2) == 0).all(dim=1)
    change = video.float().diff(dim=2).abs().mean(dim=1) * 127.5
    counted = still.to(change)
    return (change * counted).flatten(1).sum(dim=1) / counted.flatten(1).sum(dim=1)
