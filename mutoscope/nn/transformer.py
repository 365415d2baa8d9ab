"""The spatio-temporal transformer of the video U-Net: attention over space, text and time."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.nn.attention import FoldedText, SpaceAttention, SparseCausalAttention, TextAttention
from mutoscope.nn.blocks import BlockConfig, GroupNorm, zeroed
from mutoscope.nn.clip_attention import ClipAttention
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import PlaceCode
from mutoscope.nn.temporal import TemporalAttention
from mutoscope.nn.temporal_conv import TemporalResnetBlock

_ROWS, _PLACES = 0, 1  # axes of tokens R N C


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

    With `only_cross_attention` the text is attended to twice, and space not at all. Time attention
    comes before or after the feed-forward, and is between the frames of clips of at least two
    frames. Single images pass it by, and so does a clip of one frame: it is an image. With
    `temporal_pattern="clip"` attention among all places of all frames takes its place.

    Attributes:
        parts: In how many parts one after the other each layer does its work when nothing is
            trained: over frames where places attend to each other, else over places. It changes no
            more than rounding, and queries, keys, values and the wide inside of the feed-forward
            are there for one part at a time. What joins all places of all frames is not cut, and
            where frames attend to others (sparse-causal) only queries and what they see are.

    Source: LaVie (arXiv 2309.15103) §4.1 and, for images, §4.2.
    """

    def __init__(
        self, width: int, config: BlockConfig, *, num_heads: int, only_cross_attention: bool
    ) -> None:
        super().__init__()
        self.parts = 1
        self.temporal = config.temporal
        self.temporal_attention = config.temporal_attention
        self.norm1 = nn.LayerNorm(width)
        self.attn1: TextAttention | SpaceAttention
        if only_cross_attention:
            self.attn1 = TextAttention(width, num_heads=num_heads, context_width=config.text_width)
        elif config.self_attention == "sparse-causal":
            self.attn1 = SparseCausalAttention(width, num_heads=num_heads)
        else:
            self.attn1 = SpaceAttention(width, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = TextAttention(width, num_heads=num_heads, context_width=config.text_width)
        if config.temporal:
            head_width = width // num_heads
            self.norm_temp = nn.LayerNorm(width)
            rotary_dim = head_width if config.rotary_dim is None else config.rotary_dim
            self.attn_temp: TemporalAttention | ClipAttention
            if config.temporal_pattern == "clip":
                self.attn_temp = ClipAttention(width, num_heads=num_heads, rotary_dim=rotary_dim)
            else:
                self.attn_temp = TemporalAttention(
                    width,
                    num_heads=num_heads,
                    rotary_dim=rotary_dim,
                    relative_position_bias=config.relative_position_bias,
                    absolute_positions=config.absolute_positions,
                    causal=config.temporal_pattern == "causal",
                )
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, tokens: Tensor, text: FoldedText, fold: Fold) -> Tensor:
        """`R N C` -> `R N C`."""
        tokens = self._add(
            tokens,
            lambda part: self._first_attention(self.norm1(part), text, fold),
            over=self._first_over,
        )
        tokens = self._add(tokens, lambda part: self.attn2(self.norm2(part), text, fold))
        if self.temporal_attention == "before":
            tokens = self._over_time(tokens, fold)
        tokens = self._add(tokens, lambda part: self.ff(self.norm3(part)))
        return self._over_time(tokens, fold) if self.temporal_attention == "after" else tokens

    @property
    def _first_over(self) -> int | None:
        """The axis that the first attention may be cut along."""
        if isinstance(self.attn1, SparseCausalAttention):
            return None  # frames attend to other frames
        return _PLACES if isinstance(self.attn1, TextAttention) else _ROWS

    def _first_attention(self, tokens: Tensor, text: FoldedText, fold: Fold) -> Tensor:
        if isinstance(self.attn1, TextAttention):
            attended: Tensor = self.attn1(tokens, text, fold)
        elif isinstance(self.attn1, SparseCausalAttention):
            parts = 1 if torch.is_grad_enabled() else self.parts
            attended = self.attn1(tokens, fold, parts)
        else:
            attended = self.attn1(tokens)
        return attended

    def _over_time(self, tokens: Tensor, fold: Fold) -> Tensor:
        if not self.temporal or fold.frames == 1:
            return tokens
        clips, images = fold.split(tokens)
        told = {"num_clips": fold.clips, "stride": fold.stride}
        if isinstance(self.attn_temp, TemporalAttention):
            told["first"] = fold.first
        clips = self._add(
            clips,
            lambda part: self.attn_temp(self.norm_temp(part), **told),
            over=None if isinstance(self.attn_temp, ClipAttention) else _PLACES,
        )
        return fold.join([clips, images])

    def _add(
        self, tokens: Tensor, layer: Callable[[Tensor], Tensor], over: int | None = _PLACES
    ) -> Tensor:
        """`tokens` and what a layer makes of them, in parts along an axis, or all at once."""
        if self.parts == 1 or over is None or torch.is_grad_enabled():
            return tokens + layer(tokens)
        # In place: whoever calls the block has no other use for what he gives it.
        for part in tokens.split(-(-tokens.shape[over] // self.parts), over):
            part += layer(part)
        return tokens


class Transformer(nn.Module):
    """A transformer block over the places of each frame, with a residual path around it.

    With `temporal_convolutions`, a residual block over time comes first, outside that path. The
    projections are linear layers; Stable Diffusion 1.x stores them as 1x1 convolutions, 2.x does
    not. The last starts at zero. The normalisation is per frame in every network.
    """

    def __init__(
        self, channels: int, config: BlockConfig, *, num_heads: int, only_cross_attention: bool
    ) -> None:
        super().__init__()
        self.conv_temp = (
            TemporalResnetBlock(channels, config.temporal_groups, frames=3)
            if config.temporal_convolutions
            else None
        )
        self.norm = GroupNorm(config.groups, channels, eps=1e-6, over="frame")
        self.proj_in = projection(channels, linear=config.linear_projection)
        block = TransformerBlock(
            channels, config, num_heads=num_heads, only_cross_attention=only_cross_attention
        )
        self.transformer_blocks = nn.ModuleList([block])
        self.place_code = (
            None if config.frame_numbers is None else PlaceCode(channels, config.frame_numbers)
        )
        self.proj_out = zeroed(projection(channels, linear=config.linear_projection))

    def forward(self, rows: Tensor, text: FoldedText, fold: Fold) -> Tensor:
        """`R C H W` -> `R C H W`."""
        if self.conv_temp is not None and fold.frames > 1:
            clips, images = fold.split(rows)
            rows = fold.join([self.conv_temp(clips, fold.without_images), images])
        tokens = rearrange(self.norm(rows, fold), "R C H W -> R (H W) C")
        tokens = functional.linear(tokens, self.proj_in.weight.flatten(1), self.proj_in.bias)
        if self.place_code is not None:
            tokens = self.place_code.add(tokens, rows.shape[-2], rows.shape[-1], fold)
        for block in self.transformer_blocks:
            tokens = block(tokens, text, fold)
        tokens = functional.linear(tokens, self.proj_out.weight.flatten(1), self.proj_out.bias)
        return rows + rearrange(tokens, "R (H W) C -> R C H W", H=rows.shape[2])


def projection(channels: int, *, linear: bool) -> nn.Linear | nn.Conv2d:
    """A linear layer of each place's channels, stored as one or as a 1x1 convolution."""
    return nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
