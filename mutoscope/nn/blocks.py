"""Blocks of the video U-Net that see pictures: normalisation, residual block, down and up."""

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.nn.absolute import AbsolutePositions
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import FrameScale, Moment

GroupNormOver = Literal["frame", "clip"]
SelfAttention = Literal["frame", "sparse-causal"]
BesideFeedForward = Literal["before", "after"]
TemporalPattern = Literal["place", "causal", "clip"]
Layer = TypeVar("Layer", bound=nn.Module)


@dataclass(frozen=True)
class BlockConfig:
    """What all blocks of one network have in common; see `VideoUNet` for the meaning of each."""

    time_width: int
    text_width: int
    groups: int
    group_norm_over: GroupNormOver
    self_attention: SelfAttention
    linear_projection: bool
    temporal: bool
    temporal_attention: BesideFeedForward
    rotary_dim: int | None
    relative_position_bias: bool
    temporal_convolutions: bool
    temporal_groups: int
    frame_numbers: int | None = None
    absolute_positions: AbsolutePositions = "none"
    temporal_pattern: TemporalPattern = "place"

    @property
    def frame_width(self) -> int:
        """Width of the embedding of each frame: half of that of the noise time."""
        return self.time_width // 2


class GroupNorm(nn.GroupNorm):
    """Group normalisation whose statistics are those of one frame, or of all frames of a clip.

    A single image always has its own statistics, as a clip of one frame would.
    """

    def __init__(self, groups: int, channels: int, *, eps: float, over: GroupNormOver) -> None:
        super().__init__(groups, channels, eps=eps)
        self.over = over

    def forward(self, rows: Tensor, fold: Fold) -> Tensor:  # type: ignore[override]
        """Normalises `R C H W`."""
        if self.over == "frame" or fold.frames == 1:
            return self._normalise(rows)
        clips, images = fold.split(rows)
        tall = rearrange(clips, "(B F) C H W -> B C (F H) W", B=fold.clips)
        tall = self._normalise(tall)
        clips = rearrange(tall, "B C (F H) W -> (B F) C H W", F=fold.frames)
        return fold.join([clips, self._normalise(images)]) if fold.images else clips

    def _normalise(self, rows: Tensor) -> Tensor:
        # In half precision a CPU takes twice as long for this, casts included (torch 2.13).
        lift = rows.device.type == "cpu" and rows.dtype != self.weight.dtype
        if torch.is_grad_enabled() and self.weight.requires_grad and not rows.requires_grad:
            # On a CPU, in channels-last layout, torch 2.13 writes the gradient that nobody asked
            # for to address zero: where all layers before this one are frozen the process ends.
            rows = rows.detach().requires_grad_()
        normal: Tensor = functional.group_norm(
            rows.to(self.weight.dtype) if lift else rows,
            self.num_groups,
            self.weight,
            self.bias,
            self.eps,
        )
        return normal.to(rows.dtype)


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions around the time embedding, and a residual path.

    The second convolution starts at zero, so the block starts as its residual path, as in the
    latent diffusion networks that Stable Diffusion comes from. Where frames are told their numbers,
    each scales and shifts the channels of its own before that.
    """

    def __init__(
        self, in_channels: int, out_channels: int, config: BlockConfig, *, eps: float = 1e-5
    ) -> None:
        super().__init__()
        groups, over = config.groups, config.group_norm_over
        self.norm1 = GroupNorm(groups, in_channels, eps=eps, over=over)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.time_width, out_channels)
        self.norm2 = GroupNorm(groups, out_channels, eps=eps, over=over)
        self.conv2 = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        )
        self.frame_scale = (
            None if config.frame_numbers is None else FrameScale(config.frame_width, out_channels)
        )

    def forward(self, rows: Tensor, moment: Moment, fold: Fold) -> Tensor:
        """`R C H W` -> `R C' H W`."""
        hidden: Tensor = self.conv1(functional.silu(self.norm1(rows, fold)))
        hidden = hidden + fold.per_row(self.time_emb_proj(moment.clip))[:, :, None, None]
        hidden = self.norm2(hidden, fold)
        if self.frame_scale is not None:
            hidden = self.frame_scale.change(hidden, moment, fold)
        hidden = self.conv2(functional.silu(hidden))
        straight: Tensor = rows if self.conv_shortcut is None else self.conv_shortcut(rows)
        return straight + hidden


class Downsample(nn.Module):
    """Half the height and width, an odd one rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, rows: Tensor) -> Tensor:
        """`R C H W` -> `R C ceil(H/2) ceil(W/2)`."""
        halved: Tensor = self.conv(rows)
        return halved


class Upsample(nn.Module):
    """Nearest-neighbour enlargement to a given size, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, rows: Tensor, size: torch.Size) -> Tensor:
        """`R C h w` -> `R C H W`; `size` is (H, W) of the skip connection that comes next."""
        enlarged: Tensor = self.conv(functional.interpolate(rows, size=size, mode="nearest"))
        return enlarged


def zeroed(layer: Layer) -> Layer:
    """The same layer with weight and bias zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
