"""Embeddings of the noise time: a sinusoid, then two linear layers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mutoscope.types import Times

LONGEST_PERIOD = 10_000.0


def sinusoid(time: Times, width: int) -> Float[Tensor, "B width"]:
    """Cosines, then sines, of each time at width / 2 frequencies from 1 down to 1 / 10000.

    Args:
        time: Scheduler units, 0 = data, 1000 = noise (B).
        width: Even.

    Returns:
        float32: in half precision times above 2048 would already be rounded to even numbers.

    Source: DDPM (arXiv 2006.11239) Appendix B; cosines first, as Stable Diffusion 1.x has them.
    """
    half = width // 2
    index = torch.arange(half, device=time.device, dtype=torch.float32)
    angle = time.float()[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * index / half)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Noise time (B) -> embedding (B, width), from a sinusoid of `sinusoid_width`."""

    def __init__(self, sinusoid_width: int, width: int) -> None:
        super().__init__()
        self.sinusoid_width = sinusoid_width
        self.linear_1 = nn.Linear(sinusoid_width, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, time: Times) -> Float[Tensor, "B width"]:
        """The embedding of each time (B), in the precision of the weights."""
        waves = sinusoid(time, self.sinusoid_width).to(self.linear_1.weight.dtype)
        embedding: Tensor = self.linear_2(nn.functional.silu(self.linear_1(waves)))
        return embedding
