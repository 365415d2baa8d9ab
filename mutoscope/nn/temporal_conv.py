"""Convolutions over time, in residual blocks that start as the identity."""

from dataclasses import replace

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.nn.blocks import BlockConfig, GroupNorm, ResnetBlock, zeroed
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import Moment


class TemporalConvolution(nn.Conv2d):
    """A convolution over the frames of each clip, at each place by itself (kernel k x 1 x 1).

    Before the first frame and after the last there are zeros. Computed on a picture whose height is
    time and whose width is all places: in channels-last memory that is a view of the rows, and a
    CPU is done in less than half the time of a three-dimensional convolution (docs/log.md).
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__(channels, channels, (frames, 1), padding=(frames // 2, 0))

    def forward(self, rows: Tensor, num_clips: int) -> Tensor:  # type: ignore[override]
        """`(B F) C H W` -> `(B F) C H W`."""
        tall = rearrange(rows, "(B F) C H W -> B C F (H W)", B=num_clips)
        return rearrange(super().forward(tall), "B C F (H W) -> (B F) C H W", H=rows.shape[2])


class TemporalResnetBlock(nn.Module):
    """Two convolutions over time with a residual path; the second starts at zero.

    Statistics of its normalisations are those of the clip. The released LaVie starts the second
    convolution at random; here it is zero, or an inflated image network would not start as one.

    Source: LaVie (arXiv 2309.15103) §4.3.
    """

    def __init__(
        self, channels: int, groups: int, *, frames: int, time_width: int | None = None
    ) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, channels, eps=1e-6, over="clip")
        self.conv1 = TemporalConvolution(channels, frames)
        self.time_emb_proj = None if time_width is None else nn.Linear(time_width, channels)
        self.norm2 = GroupNorm(groups, channels, eps=1e-6, over="clip")
        self.conv2 = TemporalConvolution(channels, 3)
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Sets the second convolution to zero."""
        zeroed(self.conv2)

    def forward(self, rows: Tensor, fold: Fold, time: Tensor | None = None) -> Tensor:
        """`R C H W` -> `R C H W`, rows of clips alone; `time` where there is a `time_width`."""
        hidden: Tensor = self.conv1(functional.silu(self.norm1(rows, fold)), fold.clips)
        if self.time_emb_proj is not None:
            hidden = hidden + fold.per_row(self.time_emb_proj(time))[:, :, None, None]
        hidden = self.conv2(functional.silu(self.norm2(hidden, fold)), fold.clips)
        return rows + hidden


class TemporalModule(nn.Module):
    """What follows a whole level of the U-Net: a residual block over time, then one over space.

    Both are told the noise time. A last 1x1 convolution starts at zero, so that the module starts
    as the identity. Single images pass it by.

    Source: LaVie (arXiv 2309.15103) §4.3, as its released network has it.
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        over_clips = replace(
            config, groups=config.temporal_groups, group_norm_over="clip", frame_numbers=None
        )
        self.temporal_res_block = TemporalResnetBlock(
            channels, config.temporal_groups, frames=5, time_width=config.time_width
        )
        self.spatial_res_block = ResnetBlock(channels, channels, over_clips, eps=1e-6)
        self.proj_out = nn.Conv2d(channels, channels, 1)
        self.start_as_identity()

    def start_as_identity(self) -> None:
        """Sets the last convolution to zero."""
        zeroed(self.proj_out)

    def forward(self, rows: Tensor, moment: Moment, fold: Fold) -> Tensor:
        """`R C H W` -> `R C H W`."""
        if fold.frames == 1:
            return rows
        clips, images = fold.split(rows)
        hidden = self.temporal_res_block(clips, fold.without_images, moment.clip)
        hidden = self.spatial_res_block(hidden, moment, fold.without_images)
        return fold.join([clips + self.proj_out(hidden), images])
