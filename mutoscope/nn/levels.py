"""Levels of the video U-Net: all blocks that work at one resolution."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mutoscope.nn.attention import FoldedText
from mutoscope.nn.blocks import BlockConfig, Downsample, ResnetBlock, Transformer, Upsample
from mutoscope.nn.fold import Fold


class Level(nn.Module):
    """Residual blocks at one resolution; a transformer follows each of the first of them.

    Names of its parts are those of Stable Diffusion 1.x weights. `gradient_checkpointing` is what
    `ModelMixin.enable_gradient_checkpointing` sets: then each block's inner results are made again
    in the backward pass instead of being kept.
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Tensor]

    def __init__(
        self,
        in_widths: Sequence[int],
        width: int,
        config: BlockConfig,
        *,
        num_heads: int,
        num_transformers: int,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(wide, width, config) for wide in in_widths)
        self.attentions = nn.ModuleList(
            Transformer(width, config, num_heads=num_heads) for _ in range(num_transformers)
        )

    def layer(self, index: int, rows: Tensor, time: Tensor, text: FoldedText, fold: Fold) -> Tensor:
        """The residual block of this index and, where there is one, the transformer after it."""
        rows = self._run(self.resnets[index], rows, time, fold)
        if index < len(self.attentions):
            rows = self._run(self.attentions[index], rows, text, fold)
        return rows

    def _run(self, module: nn.Module, *inputs: object) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(module, *inputs)
        rows: Tensor = module(*inputs)
        return rows


class DownLevel(Level):
    """A level on the way down; every result is kept as a skip connection."""

    def __init__(
        self,
        in_widths: Sequence[int],
        width: int,
        config: BlockConfig,
        *,
        num_heads: int,
        num_transformers: int,
        halve: bool,
    ) -> None:
        super().__init__(
            in_widths, width, config, num_heads=num_heads, num_transformers=num_transformers
        )
        self.downsamplers = nn.ModuleList([Downsample(width)] if halve else [])

    def forward(self, rows: Tensor, time: Tensor, text: FoldedText, fold: Fold) -> list[Tensor]:
        """`R C H W` -> the skip connections of this level; the last one goes on to the next."""
        skips = []
        for index in range(len(self.resnets)):
            rows = self.layer(index, rows, time, text, fold)
            skips.append(rows)
        skips += [downsample(rows) for downsample in self.downsamplers]
        return skips


class MiddleLevel(Level):
    """The lowest level between the way down and the way up."""

    def forward(self, rows: Tensor, time: Tensor, text: FoldedText, fold: Fold) -> Tensor:
        """`R C H W` -> `R C H W`."""
        for index in range(len(self.resnets)):
            rows = self.layer(index, rows, time, text, fold)
        return rows


class UpLevel(Level):
    """A level on the way up; each residual block takes up one skip connection."""

    def __init__(
        self,
        in_widths: Sequence[int],
        width: int,
        config: BlockConfig,
        *,
        num_heads: int,
        num_transformers: int,
        double: bool,
    ) -> None:
        super().__init__(
            in_widths, width, config, num_heads=num_heads, num_transformers=num_transformers
        )
        self.upsamplers = nn.ModuleList([Upsample(width)] if double else [])

    def forward(
        self, rows: Tensor, skips: list[Tensor], time: Tensor, text: FoldedText, fold: Fold
    ) -> Tensor:
        """`R C H W` -> `R C' H' W'`; takes its skip connections off the end of `skips`."""
        for index in range(len(self.resnets)):
            rows = torch.cat([rows, skips.pop()], dim=1)
            rows = self.layer(index, rows, time, text, fold)
        for upsample in self.upsamplers:
            # An odd size was rounded up on the way down: only the skip connection knows it.
            rows = upsample(rows, skips[-1].shape[-2:])
        return rows


def down_levels(
    levels: Sequence[tuple[int, bool, int]], layers_per_block: int, config: BlockConfig
) -> tuple[list[DownLevel], list[int]]:
    """The way down, and the widths of the skip connections in the order in which they are made.

    Args:
        levels: Width, whether there are transformers, and number of heads; finest level first.
        layers_per_block: Residual blocks per level.
        config: Shared by all blocks.
    """
    skips = [levels[0][0]]
    result = []
    for index, (width, attends, num_heads) in enumerate(levels):
        halve = index < len(levels) - 1
        level = DownLevel(
            [skips[-1]] + [width] * (layers_per_block - 1),
            width,
            config,
            num_heads=num_heads,
            num_transformers=layers_per_block * attends,
            halve=halve,
        )
        result.append(level)
        skips += [width] * (layers_per_block + halve)
    return result, skips


def up_levels(
    levels: Sequence[tuple[int, bool, int]],
    layers_per_block: int,
    config: BlockConfig,
    skip_widths: Sequence[int],
) -> list[UpLevel]:
    """The way up, lowest level first; arguments and `skip_widths` as `down_levels` has them."""
    skips = list(skip_widths)
    below = levels[-1][0]
    result = []
    for index, (width, attends, num_heads) in reversed(list(enumerate(levels))):
        level = UpLevel(
            [before + skips.pop() for before in [below] + [width] * layers_per_block],
            width,
            config,
            num_heads=num_heads,
            num_transformers=(layers_per_block + 1) * attends,
            double=index > 0,
        )
        result.append(level)
        below = width
    return result
