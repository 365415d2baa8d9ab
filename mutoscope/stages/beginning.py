"""Beginning: a clip whose first frame is known, and a network that is told it in its input layer.

The first frame stands in its place without noise, as known frames do in every stage, and is laid
beside the noise of all frames on the channel axis, with a mask of the frames that are known. Where
it is not known, zeros are, and the network draws as it did before it could be told.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from mutoscope.encoding.condition import Condition
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.types import Latents

GOES_ON = "goes_on"
"""Name of the label (B, bool) of training clips that cannot be understood without a first frame."""


def channels_beside(channels: int) -> int:
    """Input channels that a network needs to be told a first frame of so many, and a mask."""
    return channels + 1


def can_begin(network: nn.Module) -> bool:
    """Whether a network's input layer takes a first frame."""
    if not isinstance(network, VideoUNet):
        return False
    channels: int = network.config["out_channels"]
    taken: int = network.config["in_channels"]
    return taken == channels + channels_beside(channels)


def beginning_with(
    condition: Condition, frame: Float[Tensor, "B c 1 h w"], num_frames: int
) -> Condition:
    """The condition of clips that begin with a given frame.

    Args:
        condition: What is told else.
        frame: Its scaled latents, one per sample or one for all.
        num_frames: Frames of a clip, the given one among them.
    """
    batch = condition.batch_size
    frames = frame.new_zeros(batch, frame.shape[1], num_frames, *frame.shape[-2:])
    frames[:, :, :1] = frame
    first = torch.arange(num_frames, device=frame.device) < 1
    return replace(condition, frames=frames, frame_mask=first.expand(batch, -1))


def beginnings_to_learn(
    condition: Condition, clean: Latents, untold: Tensor, generator: Generator, share: float
) -> Condition:
    """What training tells of first frames: those of the clips, some of which are left out.

    Args:
        condition: What is told else.
        clean: The clips and after them single images, B c F h w.
        untold: True for clips of which the first frame may be left out (B).
        generator: Of the draws, one per clip.
        share: How often it then is, in [0, 1].
    """
    left_out = torch.rand(len(clean), generator=generator) < share
    first = torch.arange(clean.shape[2], device=clean.device) < 1
    told = ~(left_out.to(clean.device) & untold.to(clean.device))
    return replace(condition, frames=clean, frame_mask=told[:, None] & first)


def beside_noise(
    noisy: Latents, condition: Condition, num_images: int
) -> Float[Tensor, "B seen F h w"]:
    """What the input layer sees: noise, the first frame at every frame, and which are known.

    Single images, the last of the frame axis, have no first frame.

    Args:
        noisy: B c F h w.
        condition: Frames under its mask are already in their places in `noisy`.
        num_images: M.

    Returns:
        B 2c+1 F h w.

    Source: LaVie (arXiv 2309.15103) §5.6; the mask: SEINE (arXiv 2310.20700) §3.
    """
    shown, known = torch.zeros_like(noisy), torch.zeros_like(noisy[:, :1])
    if condition.frames is not None and condition.frame_mask is not None:
        clips = noisy.shape[2] - num_images
        mask = condition.frame_mask.to(noisy.device)[:, None, :, None, None]
        first = torch.where(mask[:, :, :1], condition.frames[:, :, :1].to(noisy), 0.0)
        shown[:, :, :clips] = first
        known += mask
    return torch.cat([noisy, shown, known], dim=1)
