"""VideoEncoder: a video -> one vector for the scene and one per thing; the eyes of the oracle."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mutoscope.types import Video

FARTHEST = 4
"""Longest shift from frame to frame that is looked for, in pairs of pixels."""


@dataclass(frozen=True)
class Sight:
    """What a `VideoEncoder` made of a clip.

    Attributes:
        scene: The whole scene.
        things: Each thing, over all frames.
        covers: Which thing lies at each place: one logit per thing, and a last one for none.
        courses: Centre (x, y) and diameter of each thing in each frame, in frame heights.
    """

    scene: Float[Tensor, "B D"]
    things: Float[Tensor, "B N D"]
    covers: Float[Tensor, "B F h w N1"]
    courses: Float[Tensor, "B F N 3"]


class VideoEncoder(ModelMixin, ConfigMixin):
    """Finds the things of a clip in each frame, and follows each through the frames.

    Convolutions read each frame beside its change since the frame before. A transformer layer over
    the coarse map of a frame tells every place what is elsewhere; then each place says which thing
    covers it, and what is seen of a thing in a frame is the mean over its places, together with
    where they are. A second transformer reads those means in the order of time.

    Finding things first, with their places known in training, is learned much sooner than learned
    queries to all places of all frames (docs/log.md).

    Args:
        num_things: N, most things in a clip.
        widths: Channels at 1/4, 1/8 and 1/16 of the frame's size; the last is D.
        num_heads: Attention heads.
        grid: Height and width of the coarse map (1/16); other sizes are refused.
        max_frames: Most frames of a clip; one frame is a still.
    """

    @register_to_config
    def __init__(
        self,
        num_things: int = 2,
        widths: Sequence[int] = (48, 96, 128),
        num_heads: int = 4,
        grid: Sequence[int] = (5, 8),
        max_frames: int = 8,
    ) -> None:
        super().__init__()
        fine, middle, width = widths
        self.stem = nn.Conv2d(6, fine, 8, stride=4, padding=2)
        self.fine = Residual(fine)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle = Residual(middle)
        self.to_coarse = nn.Conv2d(middle, width, 3, stride=2, padding=1)
        self.place = nn.Parameter(0.02 * torch.randn(grid[0] * grid[1], width))
        self.elsewhere = _transformer(width, num_heads, layers=1)
        self.to_scene = nn.Linear(width, width)
        self.drift = nn.Linear(2 * grid[0] * (2 * FARTHEST + 1), width)
        self.scene_norm = nn.LayerNorm(width)
        self.context = nn.Conv2d(width, middle, 1)
        self.norm = nn.GroupNorm(8, middle)
        self.cover = nn.Linear(middle, num_things + 1)
        self.look = nn.Linear(middle, width)
        self.position = nn.Linear(3, width)
        self.moment = nn.Parameter(0.02 * torch.randn(max_frames, width))
        self.course = nn.Linear(width, 3)
        self.follow = _transformer(width, num_heads, layers=2)
        self.thing_norm = nn.LayerNorm(width)

    def forward(self, video: Video) -> Sight:
        """Looks at clips with pixels in [-1, 1]."""
        batch, _, frames, _, _ = video.shape
        assert frames <= self.config.max_frames, f"{frames} frames > {self.config.max_frames}"
        change = torch.zeros_like(video)
        change[:, :, 1:] = video.diff(dim=2)
        rows = rearrange(torch.cat([video, change], dim=1), "b c f h w -> (b f) c h w")
        rows = self.fine(self.stem(rows.contiguous(memory_format=torch.channels_last)))
        middle = self.middle(self.to_middle(functional.silu(rows)))
        coarse = self.to_coarse(functional.silu(middle))
        tokens = self.elsewhere(rearrange(coarse, "r c h w -> r (h w) c") + self.place)
        seen = functional.silu(self.to_scene(tokens)).mean(dim=1)
        seen = rearrange(seen, "(b f) c -> b f c", b=batch).mean(dim=1)
        scene = self.scene_norm(seen + self.drift(4 * drifts(video)))
        there = rearrange(tokens, "r (h w) c -> r c h w", h=coarse.shape[2])
        there = functional.interpolate(self.context(there), size=middle.shape[-2:], mode="nearest")
        places = rearrange(functional.silu(self.norm(middle + there)), "r c h w -> r h w c")
        covers = self.cover(places)
        states = self._gather(places, covers)
        moments = rearrange(states, "(b f) n c -> b f n c", b=batch)
        courses = self.course(moments) + moments.new_tensor((0.8, 0.5, 0.4))
        story = moments + self.moment[:frames, None]
        followed = self.follow(rearrange(story, "b f n c -> (b n) f c")).mean(dim=1)
        things = rearrange(self.thing_norm(followed), "(b n) c -> b n c", b=batch)
        covers = rearrange(covers, "(b f) h w n -> b f h w n", b=batch)
        return Sight(scene, things, covers, courses)

    def _gather(self, places: Tensor, covers: Tensor) -> Tensor:
        """What is seen of each thing in each frame, R N D: the mean over the places it covers."""
        height, width = places.shape[1:3]
        share = rearrange(covers.softmax(dim=-1)[..., :-1], "r h w n -> r n (h w)")
        mass = share.sum(dim=-1, keepdim=True) + 1e-4
        share = share / mass
        looks = share @ rearrange(self.look(places), "r h w c -> r (h w) c")
        y = (torch.arange(height, device=places.device) + 0.5) / height
        x = (torch.arange(width, device=places.device) + 0.5) / height
        where = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1)
        around = torch.cat([share @ where.to(share), mass / 10], dim=-1)
        seen: Tensor = looks + self.position(4 * around)
        return seen


def drifts(video: Video) -> Float[Tensor, "B D"]:
    """How likely each band of 8 rows moves sideways by each shift from frame to frame; 0 in stills.

    Brightness is compared at half size within 3x3 windows, as in the cost volumes of optical flow.
    A pan of the camera is hard to learn from differences of frames, and a linear map reads it from
    these (docs/log.md).
    """
    batch, _, frames, height, width = video.shape
    if frames == 1:
        return video.new_zeros(batch, height // 8 * (2 * FARTHEST + 1))
    grey = functional.avg_pool2d(video.mean(dim=1), 2)
    padded = functional.pad(grey, (FARTHEST, FARTHEST, 0, 0), mode="replicate")
    costs = [
        (grey[:, 1:] - padded[:, :-1, :, shift : shift + width // 2]).abs()
        for shift in range(2 * FARTHEST + 1)
    ]
    cost = torch.stack(costs, dim=2).flatten(0, 1)
    cost = functional.avg_pool2d(cost, 3, stride=1, padding=1, count_include_pad=False)
    likely = functional.avg_pool2d((-40 * cost).softmax(dim=1), 4).mean(dim=-1)
    bands: Tensor = likely.unflatten(0, (batch, frames - 1)).mean(dim=1)
    return bands.flatten(1)


class Residual(nn.Module):
    """Two normalised 3x3 convolutions with a residual path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, rows: Tensor) -> Tensor:
        """`R C H W` -> `R C H W`."""
        hidden = self.conv1(functional.silu(self.norm1(rows)))
        added: Tensor = rows + self.conv2(functional.silu(self.norm2(hidden)))
        return added


def _transformer(width: int, num_heads: int, *, layers: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        width, num_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
