"""How much fine detail a video has: the quality that no caption tells."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mutoscope.types import Video


def sharpness(video: Video) -> Float[Tensor, " B"]:
    """Natural logarithm of the variance of the Laplacian of grey pixels, mean over frames.

    Args:
        video: Pixels in [-1, 1], at least 3x3 of them.

    Returns:
        Higher is sharper; a clip scaled up from half its size has less by 2 and more. About -18.4,
        the logarithm of 1e-8, for frames of one colour.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (ICPR 2000).
    """
    grey = rearrange(video.float().mean(dim=1), "b f h w -> (b f) 1 h w")
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], device=video.device)
    edges = torch.nn.functional.conv2d(grey, kernel[None, None])
    energy = edges.var(dim=(1, 2, 3)).clamp(min=1e-8).log()
    return rearrange(energy, "(b f) -> b f", b=video.shape[0]).mean(dim=1)
