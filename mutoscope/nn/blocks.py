"""Blocks of the video U-Net: residual, down and up sampling, spatio-temporal transformer."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.nn.attention import FoldedText, SpaceAttention, TextAttention
from mutoscope.nn.fold import Fold
from mutoscope.nn.temporal import TemporalAttention

GroupNormOver = Literal["frame", "clip"]


@dataclass(frozen=True)
class BlockConfig:
    """What all blocks of one network have in common; see `VideoUNet` for the meaning of each."""

    time_width: int
    text_width: int
    groups: int
    group_norm_over: GroupNormOver
    temporal: bool
    rotary_dim: int | None


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
    latent diffusion networks that Stable Diffusion comes from.
    """

    def __init__(self, in_channels: int, out_channels: int, config: BlockConfig) -> None:
        super().__init__()
        groups, over = config.groups, config.group_norm_over
        self.norm1 = GroupNorm(groups, in_channels, eps=1e-5, over=over)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.time_width, out_channels)
        self.norm2 = GroupNorm(groups, out_channels, eps=1e-5, over=over)
        self.conv2 = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        )

    def forward(self, rows: Tensor, time: Tensor, fold: Fold) -> Tensor:
        """`R C H W` -> `R C' H W`; `time` is the activated embedding of each clip (B, width)."""
        hidden: Tensor = self.conv1(functional.silu(self.norm1(rows, fold)))
        hidden = hidden + fold.per_row(self.time_emb_proj(time))[:, :, None, None]
        hidden = self.conv2(functional.silu(self.norm2(hidden, fold)))
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


class GatedLinear(nn.Module):
    """Half of a linear layer's outputs, gated by the exact GELU of the other half (GEGLU)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        """`... width` -> `... inner`."""
        states, gate = self.proj(tokens).chunk(2, dim=-1)
        gated: Tensor = states * functional.gelu(gate)
        return gated


class FeedForward(nn.Module):
    """GEGLU to four times the width and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Stable Diffusion keeps a dropout in the middle: without it `net.2` would be `net.1`.
        self.net = nn.Sequential(
            GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """`... width` -> `... width`."""
        transformed: Tensor = self.net(tokens)
        return transformed


class TransformerBlock(nn.Module):
    """Space, text, time, feed-forward: each normalises its input and adds to it.

    Time attention is between the frames of clips of at least two frames. Single images pass it by,
    and so does a clip of one frame: it is an image.

    Source: LaVie (arXiv 2309.15103) §4.1 and, for images, §4.2.
    """

    def __init__(self, width: int, config: BlockConfig, *, num_heads: int) -> None:
        super().__init__()
        self.temporal = config.temporal
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = SpaceAttention(width, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = TextAttention(width, num_heads=num_heads, context_width=config.text_width)
        if config.temporal:
            rotary_dim = config.rotary_dim or width // num_heads
            self.norm_temp = nn.LayerNorm(width)
            self.attn_temp = TemporalAttention(width, num_heads=num_heads, rotary_dim=rotary_dim)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, tokens: Tensor, text: FoldedText, fold: Fold) -> Tensor:
        """`R N C` -> `R N C`."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), text, fold)
        if self.temporal and fold.frames > 1:
            clips, images = fold.split(tokens)
            clips = clips + self.attn_temp(self.norm_temp(clips), num_clips=fold.clips)
            tokens = fold.join([clips, images])
        transformed: Tensor = tokens + self.ff(self.norm3(tokens))
        return transformed


class Transformer(nn.Module):
    """A transformer block over the places of each frame, with a residual path around it.

    The projections are 1x1 convolutions by the shape of their weights, and computed as the linear
    layers that they are; the last starts at zero. The normalisation is per frame in every network.
    """

    def __init__(self, channels: int, config: BlockConfig, *, num_heads: int) -> None:
        super().__init__()
        self.norm = GroupNorm(config.groups, channels, eps=1e-6, over="frame")
        self.proj_in = nn.Conv2d(channels, channels, 1)
        block = TransformerBlock(channels, config, num_heads=num_heads)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, rows: Tensor, text: FoldedText, fold: Fold) -> Tensor:
        """`R C H W` -> `R C H W`."""
        tokens = rearrange(self.norm(rows, fold), "R C H W -> R (H W) C")
        tokens = functional.linear(tokens, self.proj_in.weight.flatten(1), self.proj_in.bias)
        for block in self.transformer_blocks:
            tokens = block(tokens, text, fold)
        tokens = functional.linear(tokens, self.proj_out.weight.flatten(1), self.proj_out.bias)
        return rows + rearrange(tokens, "R (H W) C -> R C H W", H=rows.shape[2])


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The same layer with weight and bias zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
