"""Rotary positions: queries and keys turn with the frame index, so scores see only differences."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mutoscope.types import Spacing

BASE = 10_000.0


def rotary_angles(
    num_frames: int,
    head_width: int,
    *,
    rotary_dim: int,
    stride: Spacing = 1,
    device: torch.device | None = None,
) -> Float[Tensor, "F pairs"]:
    """The angle in radians by which each channel pair of a head is turned at each frame.

    Pair i < rotary_dim / 2 turns by f * 10000^(-2 i / rotary_dim) at frame f; the pairs after it
    stand still. Any number of frames is possible: nothing is learned or stored.

    Args:
        num_frames: F.
        head_width: E, channels of one head; the result has E / 2 columns.
        rotary_dim: How many of them turn (even, 2 to E).
        stride: Frames are numbered 0, stride, 2 stride, ...
        device: Where the result is made.

    Returns:
        float32, whatever the precision of the network.

    Source: RoFormer (arXiv 2104.09864) §3.2.2, Eq. 15; used over time by LaVie
    (arXiv 2309.15103) §4.1.
    """
    pair = torch.arange(rotary_dim // 2, device=device, dtype=torch.float32)
    speed = BASE ** (-2.0 * pair / rotary_dim)
    speed = torch.nn.functional.pad(speed, (0, (head_width - rotary_dim) // 2))
    frame = stride * torch.arange(num_frames, device=device, dtype=torch.float32)
    return frame[:, None] * speed


def rotate(states: Float[Tensor, "B F ... E"], angles: Float[Tensor, "F pairs"]) -> Tensor:
    """Turns each pair of neighbouring channels (0, 1), (2, 3), ... of each frame by its angle.

    Args:
        states: Queries or keys, frames on the second axis, channels of one head on the last.
        angles: From `rotary_angles`.

    Returns:
        As `states`; the arithmetic is float32 and only the result is rounded to its precision.
    """
    shape = (angles.shape[0],) + (1,) * (states.ndim - 3) + (angles.shape[1],)
    turns = torch.polar(torch.ones_like(angles), angles).view(shape)
    pairs = rearrange(states.float(), "... (pairs two) -> ... pairs two", two=2).contiguous()
    turned = torch.view_as_real(torch.view_as_complex(pairs) * turns)
    return turned.flatten(-2).to(states.dtype)
