"""The oracle: reads what a clip of the world shows back from its pixels alone.

It lives with the metrics and not in `world/`, because it is a network: `world/` knows no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Generator, Tensor, nn
from torch.nn import functional

from mutoscope.encoding.identity import weights_hash
from mutoscope.errors import ModelError, RequestError
from mutoscope.nn.video_encoder import Sight, VideoEncoder
from mutoscope.types import Batch, Loss, Video
from mutoscope.world.labels import MAX_THINGS, MOVING_FACTORS, SCENE_FACTORS, THING_FACTORS, UNKNOWN

FRAMES_READ = 8


@dataclass(frozen=True)
class Reading:
    """What the oracle saw in one clip: the likeliest value of each factor.

    Attributes:
        scene: Value per scene factor.
        things: Value per thing factor, for each object in canonical order (left to right, or top to
            bottom).
    """

    scene: Mapping[str, str]
    things: tuple[Mapping[str, str], ...]


class Oracle(ModelMixin, ConfigMixin):
    """Reads every factor of the world from eight frames a quarter of a second apart.

    It is trained on clean, blurred and noisy renders of every combination, held-out and image-only
    ones included, and never on generated video, so that it can judge one.
    """

    @register_to_config
    def __init__(self, widths: Sequence[int] = (48, 96, 128)) -> None:
        super().__init__()
        self.trunk = VideoEncoder(MAX_THINGS, widths, max_frames=FRAMES_READ)
        self.scene_heads = nn.ModuleDict(
            {name: nn.Linear(widths[-1], len(values)) for name, values in SCENE_FACTORS.items()}
        )
        self.thing_heads = nn.ModuleDict(
            {name: nn.Linear(widths[-1], len(values)) for name, values in THING_FACTORS.items()}
        )

    def forward(self, video: Video) -> dict[str, Tensor]:
        """Logits per factor: scene factors B V, thing factors B N V, of at most eight frames."""
        return self.name(self.trunk(video))

    def name(self, sight: Sight) -> dict[str, Tensor]:
        """The logits of what the trunk saw."""
        logits = {name: head(sight.scene) for name, head in self.scene_heads.items()}
        return logits | {name: head(sight.things) for name, head in self.thing_heads.items()}

    @property
    def features(self) -> int:
        """Length of the vectors of `encode`."""
        return (1 + MAX_THINGS) * int(self.config["widths"][-1])

    @torch.inference_mode()
    def encode(self, video: Video) -> Tensor:
        """What it saw of each clip as a vector, before naming it: scene, then things; a second
        thing is zero where it saw one. As latents of one cell, B 3D 1 1 1, so that they can be
        cached."""
        device = next(self.parameters()).device
        sight = self.trunk(video.to(device))
        several = self.scene_heads["arrangement"](sight.scene).argmax(dim=-1) != 0
        things = sight.things.clone()
        things[~several, 1:] = 0
        return torch.cat([sight.scene, things.flatten(1)], dim=1)[..., None, None, None]

    def hash(self) -> str:
        """Identity of the weights."""
        return weights_hash({"oracle": self})

    @torch.inference_mode()
    def read(self, video: Video, *, fps: float) -> list[Reading]:
        """The likeliest value of every factor in each clip, or in each still (one frame)."""
        logits = self(frames_to_read(video, fps=fps))
        best = {name: scores.argmax(dim=-1).cpu() for name, scores in logits.items()}
        return [_reading(best, row) for row in range(video.shape[0])]


def load_oracle() -> Oracle | None:
    """The oracle that the package ships, ready to read; None in a package without one."""
    folder = Path(__file__).parents[1] / "mini" / "oracle"
    if not folder.is_dir():
        return None
    oracle: Oracle = Oracle.from_pretrained(folder, torch_dtype=torch.float32)
    oracle.eval().requires_grad_(False)
    return oracle


def needed_oracle() -> Oracle:
    """The oracle that the package ships.

    Raises:
        ModelError: This copy of the package has none.
    """
    oracle = load_oracle()
    if oracle is None:
        raise ModelError(
            "videos cannot be scored: this copy of Mutoscope has no mutoscope/mini/oracle. Train "
            "it (`mutoscope train mini:oracle --out DIR`) and copy DIR/oracle/model/oracle there."
        )
    return oracle


def _reading(best: Mapping[str, Tensor], row: int) -> Reading:
    scene = {name: values[int(best[name][row])] for name, values in SCENE_FACTORS.items()}
    count = 1 if scene["arrangement"] == "single" else MAX_THINGS
    things = tuple(
        {name: values[int(best[name][row, slot])] for name, values in THING_FACTORS.items()}
        for slot in range(count)
    )
    return Reading(scene, things)


def frames_to_read(video: Video, *, fps: float) -> Tensor:
    """Frames a quarter of a second apart (at most eight), at the world's 80x128 pixels.

    Raises:
        RequestError: quarter seconds do not fall on frames.
    """
    if video.shape[2] > 1:
        if fps % 4:
            raise RequestError(
                f"a clip of {fps:g} frames per second cannot be read: the oracle looks every "
                "quarter of a second. Use a multiple of 4 frames per second."
            )
        video = video[:, :, :: int(fps) // 4][:, :, :FRAMES_READ]
    if video.shape[-2:] != (80, 128):
        video = functional.interpolate(video, (video.shape[2], 80, 128), mode="area")
    return video


class OracleReading:
    """Trains the oracle, on frames blurred and noised at random.

    Cross-entropy of every factor and of which thing covers each place, and the error of centres and
    diameters.
    """

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    def modules(self) -> Mapping[str, nn.Module]:
        return {"oracle": self.oracle}

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        """Sum of the errors; moving factors do not count on stills."""
        assert batch.video is not None
        sight = self.oracle.trunk(spoil(batch.video, generator))
        still = batch.video.shape[2] == 1
        losses, report = [], {}
        for name, scores in self.oracle.name(sight).items():
            if still and name in MOVING_FACTORS:
                continue
            truth = batch.labels[name]
            known = truth != UNKNOWN
            losses.append(_cross_entropy(scores, truth))
            report[name] = (scores.argmax(-1) == truth)[known].float().mean().detach()
        found = _cross_entropy(sight.covers, batch.labels["covers"])
        truth = batch.labels["courses"]
        known = ~truth.isnan()
        course = functional.smooth_l1_loss(sight.courses[known], truth[known], beta=0.05)
        report["off_course"] = (sight.courses - truth)[known].detach().abs().mean()
        return Loss(torch.stack(losses).sum() + found + 10 * course, report)


def _cross_entropy(scores: Tensor, truth: Tensor) -> Tensor:
    return functional.cross_entropy(
        scores.flatten(0, -2), truth.flatten(), ignore_index=UNKNOWN, label_smoothing=0.02
    )


def spoil(video: Video, generator: Generator) -> Video:
    """Blurs, noises and tints half of the clips slightly, as a codec or a weak generator would."""
    batch = video.shape[0]
    draw = torch.rand(batch, 4, generator=generator).to(video)
    blurred = functional.avg_pool3d(
        video, (1, 3, 3), stride=1, padding=(0, 1, 1), count_include_pad=False
    )
    spoilt = (draw[:, 0] < 0.5).view(-1, 1, 1, 1, 1)
    mix = draw[:, 1].view(-1, 1, 1, 1, 1)
    noise = torch.randn(video.shape, generator=generator).to(video)
    strength = 0.2 * draw[:, 2].square().view(-1, 1, 1, 1, 1)
    tint = 0.1 * (draw[:, 3] - 0.5).view(-1, 1, 1, 1, 1)
    return torch.where(spoilt, video + mix * (blurred - video) + strength * noise + tint, video)
