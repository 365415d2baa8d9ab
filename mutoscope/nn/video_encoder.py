"""VideoEncoder: a video -> a few vectors; the trunk of the oracle and of the world's CLIP."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.types import Video


class VideoEncoder(ModelMixin, ConfigMixin):
    """Reads a clip with convolutions in space and time, then asks it a few learned questions.

    Frames pass a patch convolution and two halvings, each followed by a residual block that also
    looks at the neighbouring frames; learned queries then attend to all positions of all frames.
    A clip may have any number of frames up to `max_frames`; one frame is a still.

    Args:
        num_queries: Vectors read from each clip.
        widths: Channels at 1/p, 1/2p and 1/4p of the frame's size.
        patch_size: Side p of the first, non-overlapping convolution, in pixels.
        num_layers: Layers of the reader.
        num_heads: Attention heads of the reader.
        grid: Height and width of the last feature map; other sizes are refused.
        max_frames: Most frames of a clip.
    """

    @register_to_config
    def __init__(
        self,
        num_queries: int = 1,
        widths: tuple[int, int, int] = (32, 64, 96),
        patch_size: int = 4,
        num_layers: int = 2,
        num_heads: int = 4,
        grid: tuple[int, int] = (5, 8),
        max_frames: int = 16,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], patch_size, stride=patch_size)
        self.levels = nn.ModuleList(
            [
                Level(widths[0], widths[0], stride=1),
                Level(widths[0], widths[1], stride=2),
                Level(widths[1], widths[2], stride=2),
            ]
        )
        width = widths[2]
        self.place = nn.Parameter(0.02 * torch.randn(grid[0] * grid[1], width))
        self.moment = nn.Parameter(0.02 * torch.randn(max_frames, width))
        self.queries = nn.Parameter(0.5 * torch.randn(num_queries, width))
        self.reader = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(
                width, num_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            ),
            num_layers,
            norm=nn.LayerNorm(width),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, video: Video) -> Tensor:
        """Vectors (B, num_queries, widths[-1]) of clips with pixels in [-1, 1]."""
        return self.answer(self.tokens(video))

    def answer(self, tokens: Tensor) -> Tensor:
        """What the queries read (B, num_queries, D) from tokens (B, F, N, D)."""
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        answers: Tensor = self.reader(queries, rearrange(tokens, "b f n c -> b (f n) c"))
        return answers

    def tokens(self, video: Video) -> Tensor:
        """One vector per frame and place of the grid, row by row (B, F, N, D)."""
        batch, _, frames, _, _ = video.shape
        assert frames <= self.config.max_frames, f"{frames} frames > {self.config.max_frames}"
        hidden = self.stem(rearrange(video, "b c f h w -> (b f) c h w"))
        for level in self.levels:
            hidden = level(hidden, frames)
        tokens: Tensor = self.norm(rearrange(hidden, "(b f) c h w -> b f (h w) c", b=batch))
        return tokens + self.place + self.moment[:frames, None]


class Level(nn.Module):
    """A halving (or none), then a residual block over space and one over neighbouring frames."""

    def __init__(self, in_width: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(in_width, width, 3, stride=stride, padding=1)
        self.space_norm = nn.GroupNorm(8, width)
        self.space = nn.Conv2d(width, width, 3, padding=1)
        self.time_norm = nn.GroupNorm(8, width)
        self.time = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor, frames: int) -> Tensor:
        hidden = functional.silu(self.enter(hidden))
        hidden = hidden + self.space(functional.silu(self.space_norm(hidden)))
        if frames == 1:
            return hidden
        height = hidden.shape[2]
        columns = rearrange(
            functional.silu(self.time_norm(hidden)), "(b f) c h w -> (b h w) c f", f=frames
        )
        change = rearrange(
            self.time(columns), "(b h w) c f -> (b f) c h w", h=height, w=hidden.shape[3]
        )
        mixed: Tensor = hidden + change
        return mixed
