"""Whether a clip keeps showing the same thing, and whether it moves evenly."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mutoscope.errors import RequestError
from mutoscope.types import Video


def subject_consistency(features: Float[Tensor, "B F D"]) -> Float[Tensor, " B"]:
    """How alike a clip's frames are, to the eyes of whatever described them.

    Args:
        features: A vector of each frame, at least two frames.

    Returns:
        0 to 1: mean over all frames but the first of its cosines with the frame before and with
        the first frame, cosines below 0 counted as 0. A clip that stands still has 1.

    Raises:
        RequestError: A clip of one frame.

    Source: VBench (arXiv 2311.17982) §3.1, subject consistency.
    """
    _check_frames(features.shape[1], 2)
    unit = functional.normalize(features.float(), dim=-1)
    before = (unit[:, 1:] * unit[:, :-1]).sum(dim=-1).clamp(min=0)
    first = (unit[:, 1:] * unit[:, :1]).sum(dim=-1).clamp(min=0)
    return ((before + first) / 2).mean(dim=1)


def motion_smoothness(video: Video) -> Float[Tensor, " B"]:
    """How well every second frame is foretold by its neighbours.

    VBench has a network make these frames; here they are the means of their neighbours, so that
    small fast things cost something even where they move evenly. Compare clips of the same prompts.

    Args:
        video: Pixels in [-1, 1], at least three frames.

    Returns:
        0 to 1: 1 less the mean difference, as a share of the range of pixels. A clip that stands
        still has 1.

    Raises:
        RequestError: A clip of fewer than three frames.

    Source: VBench (arXiv 2311.17982) §3.1, motion smoothness.
    """
    _check_frames(video.shape[2], 3)
    left, dropped = video[:, :, :-2:2].float(), video[:, :, 1:-1:2].float()
    right = video[:, :, 2::2].float()
    return 1 - (dropped - (left + right) / 2).abs().mean(dim=(1, 2, 3, 4)) / 2


def _check_frames(frames: int, least: int) -> None:
    if frames < least:
        raise RequestError(
            f"a clip of {frames} frames cannot be judged over time. Give at least {least} frames."
        )
