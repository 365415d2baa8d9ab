"""Levels of the video U-Net: all blocks that work at one resolution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mutoscope.nn.attention import FoldedText
from mutoscope.nn.blocks import BlockConfig, Downsample, ResnetBlock, Upsample
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import Moment
from mutoscope.nn.temporal_conv import TemporalModule
from mutoscope.nn.transformer import Transformer


@dataclass(frozen=True)
class LevelConfig:
    """What the way down and the way up have in common at one level; see `VideoUNet`."""

    width: int
    attends: bool
    num_heads: int
    only_cross_attention: bool = False


class Level(nn.Module):
    """Residual blocks at one resolution; a transformer follows each of the first of them.

    With `temporal_convolutions`, a `TemporalModule` comes last; skip connections are taken before
    it. Names of all other parts are those of Stable Diffusion 1.x weights. `gradient_checkpointing`
    is what `ModelMixin.enable_gradient_checkpointing` sets: then each block's inner results are
    made again in the backward pass instead of being kept.
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Tensor]

    def __init__(
        self,
        in_widths: Sequence[int],
        level: LevelConfig,
        config: BlockConfig,
        *,
        num_transformers: int,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(wide, level.width, config) for wide in in_widths)
        self.attentions = nn.ModuleList(
            Transformer(
                level.width,
                config,
                num_heads=level.num_heads,
                only_cross_attention=level.only_cross_attention,
            )
            for _ in range(num_transformers)
        )
        self.temporal_module = (
            TemporalModule(level.width, config) if config.temporal_convolutions else None
        )

    def layer(
        self, index: int, rows: Tensor, moment: Moment, text: FoldedText, fold: Fold
    ) -> Tensor:
        """The residual block of this index and, where there is one, the transformer after it."""
        rows = self._run(self.resnets[index], rows, moment, fold)
        if index < len(self.attentions):
            rows = self._run(self.attentions[index], rows, text, fold)
        return rows

    def over_time(self, rows: Tensor, moment: Moment, fold: Fold) -> Tensor:
        """What follows the whole level: the temporal module, where there is one."""
        if self.temporal_module is None:
            return rows
        return self._run(self.temporal_module, rows, moment, fold)

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
        level: LevelConfig,
        config: BlockConfig,
        *,
        num_transformers: int,
        halve: bool,
    ) -> None:
        super().__init__(in_widths, level, config, num_transformers=num_transformers)
        self.downsamplers = nn.ModuleList([Downsample(level.width)] if halve else [])

    def forward(
        self, rows: Tensor, moment: Moment, text: FoldedText, fold: Fold
    ) -> tuple[Tensor, list[Tensor]]:
        """`R C H W` -> what goes on to the next level, and the skip connections of this one."""
        skips = self.first(len(self.resnets), rows, moment, text, fold)
        skips += [downsample(skips[-1]) for downsample in self.downsamplers]
        return self.over_time(skips[-1], moment, fold), skips

    def first(
        self, count: int, rows: Tensor, moment: Moment, text: FoldedText, fold: Fold
    ) -> list[Tensor]:
        """The skip connections of the first so many layers (`R C H W` each)."""
        skips = []
        for index in range(count):
            rows = self.layer(index, rows, moment, text, fold)
            skips.append(rows)
        return skips


class MiddleLevel(Level):
    """The lowest level between the way down and the way up."""

    def forward(self, rows: Tensor, moment: Moment, text: FoldedText, fold: Fold) -> Tensor:
        """`R C H W` -> `R C H W`."""
        for index in range(len(self.resnets)):
            rows = self.layer(index, rows, moment, text, fold)
        return self.over_time(rows, moment, fold)


class UpLevel(Level):
    """A level on the way up; each residual block takes up one skip connection."""

    def __init__(
        self,
        in_widths: Sequence[int],
        level: LevelConfig,
        config: BlockConfig,
        *,
        num_transformers: int,
        double: bool,
    ) -> None:
        super().__init__(in_widths, level, config, num_transformers=num_transformers)
        self.upsamplers = nn.ModuleList([Upsample(level.width)] if double else [])

    def forward(
        self, rows: Tensor, skips: list[Tensor], moment: Moment, text: FoldedText, fold: Fold
    ) -> Tensor:
        """`R C H W` -> `R C' H' W'`; takes its skip connections off the end of `skips`."""
        rows = self.layers(range(len(self.resnets)), rows, skips, moment, text, fold)
        for upsample in self.upsamplers:
            # An odd size was rounded up on the way down: only the skip connection knows it.
            rows = upsample(rows, skips[-1].shape[-2:])
        return self.over_time(rows, moment, fold)

    def layers(
        self,
        indices: range,
        rows: Tensor,
        skips: list[Tensor],
        moment: Moment,
        text: FoldedText,
        fold: Fold,
    ) -> Tensor:
        """The layers of these indices alone; each takes up one skip connection."""
        for index in indices:
            rows = torch.cat([rows, skips.pop()], dim=1)
            rows = self.layer(index, rows, moment, text, fold)
        return rows


def down_levels(
    levels: Sequence[LevelConfig], layers_per_block: int, config: BlockConfig
) -> tuple[list[DownLevel], list[int]]:
    """The way down, and the widths of the skip connections in the order in which they are made.

    Args:
        levels: Finest level first.
        layers_per_block: Residual blocks per level.
        config: Shared by all blocks.
    """
    skips = [levels[0].width]
    result = []
    for index, level in enumerate(levels):
        halve = index < len(levels) - 1
        down = DownLevel(
            [skips[-1]] + [level.width] * (layers_per_block - 1),
            level,
            config,
            num_transformers=layers_per_block * level.attends,
            halve=halve,
        )
        result.append(down)
        skips += [level.width] * (layers_per_block + halve)
    return result, skips


def up_levels(
    levels: Sequence[LevelConfig],
    layers_per_block: int,
    config: BlockConfig,
    skip_widths: Sequence[int],
) -> list[UpLevel]:
    """The way up, lowest level first; arguments and `skip_widths` as `down_levels` has them."""
    skips = list(skip_widths)
    below = levels[-1].width
    result = []
    for index, level in reversed(list(enumerate(levels))):
        up = UpLevel(
            [before + skips.pop() for before in [below] + [level.width] * layers_per_block],
            level,
            config,
            num_transformers=(layers_per_block + 1) * level.attends,
            double=index > 0,
        )
        result.append(up)
        below = level.width
    return result
