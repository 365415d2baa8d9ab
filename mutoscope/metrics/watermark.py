"""How much of a known watermark a video shows."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mutoscope.types import Size, Video
from mutoscope.video.mark import mark

REACH = 5
"""Pixels to each side whose mean is taken away: what is left is detail as fine as the strokes."""


def mark_correlation(video: Video) -> Float[Tensor, " B"]:
    """Correlation of each clip with the mark, around the mark's place.

    The mark stands still and most else moves, so a clip's frames are averaged first; then what is
    coarser than the strokes is taken away. Correlation is blind to contrast: a faint mark on an
    even ground counts as much as a strong one, so nothing that an eye would find escapes it.

    Args:
        video: Pixels in [-1, 1], of any size at which the mark could have been drawn.

    Returns:
        From -1 to 1: near 1 where the mark stands, around 0 without it; 0 for an even picture.

    Source: matched filtering of a known pattern, as in Dekel et al., "On the Effectiveness of
    Visible Watermarks" (CVPR 2017) §3.
    """
    height, width = video.shape[-2:]
    pattern = torch.from_numpy(mark(Size(height, width))).to(video.device)
    rows, columns = pattern.any(dim=1).nonzero()[:, 0], pattern.any(dim=0).nonzero()[:, 0]
    box = (
        ...,
        slice(max(0, int(rows[0]) - REACH), int(rows[-1]) + REACH + 1),
        slice(max(0, int(columns[0]) - REACH), int(columns[-1]) + REACH + 1),
    )
    grey = _detail(video.float().mean(dim=(1, 2)))[box].flatten(1)
    wanted = _detail(pattern[None])[box].flatten(1)
    grey = grey - grey.mean(dim=1, keepdim=True)
    wanted = wanted - wanted.mean()
    lengths = (grey.norm(dim=1) * wanted.norm()).clamp(min=1e-6)
    correlation: Tensor = (grey * wanted).sum(dim=1) / lengths
    return correlation


def _detail(pictures: Tensor) -> Tensor:
    """Pictures (B H W) without the mean of what is around each pixel."""
    around = functional.avg_pool2d(
        pictures[:, None], 2 * REACH + 1, stride=1, padding=REACH, count_include_pad=False
    )
    return pictures - around[:, 0]
