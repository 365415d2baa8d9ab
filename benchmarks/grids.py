"""What makes the better picture per CPU-hour: f8 at a quarter of LaVie's size, or f4 at an eighth.

Command: `python -m benchmarks.grids OUT ARM [MINUTES MINUTES]`, with ARM `f8` or `f4`; the minutes
are those of the autoencoder (5) and of the image model (9). To compare, run both at once: each has
one thread.

Both draw on a grid of 10x16 latent cells of 16 channels, so the image models are one network and a
step of either takes as long. f8 sees frames of 80x128, f4 of 40x64, which a cascade would have to
enlarge twice as far. Both arms get the same minutes, and are read by the oracle at 80x128: what f4
draws is enlarged bicubically. The ceiling is true stills through the arm's autoencoder.
"""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch.nn import functional

import mutoscope
from mutoscope.data.sources import ClipSource, WorldSource
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.encoding.codec import LatentCodec
from mutoscope.metrics.accuracy import accuracy, score
from mutoscope.metrics.between import psnr
from mutoscope.metrics.oracle import needed_oracle
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes import mini
from mutoscope.recipes.parents import latent_cache, load_codec, load_text
from mutoscope.recipes.samples import (
    GUIDANCE,
    SIZE,
    STEPS,
    is_known_in_video,
    pixels,
    scenes_to_test,
)
from mutoscope.recipes.ship import unpack
from mutoscope.recipes.tasks import LAW, AutoencoderTask, DenoiserTask
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.training.optim import Muon, Schedule
from mutoscope.training.recipe import Recipe, Run
from mutoscope.training.trainer import train
from mutoscope.types import Size, Video
from mutoscope.video.frames import to_bytes
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.factors import LEVELS
from mutoscope.world.grammar import caption

ARMS = {"f8": (80, 4), "f4": (40, 2)}
TESTED = 200
AT_ONCE = 25
FACTORS = ("background", "colour", "shape")


@dataclass(frozen=True, kw_only=True)
class StillsTask(DenoiserTask):
    """The image model on frames of a given height, told nothing of itself while it trains."""

    images: int = 8_000
    batch_size: int = 64
    time_shift: float = 2.0
    samples: int = field(default=1, compare=False)
    frame: int = 80

    def _stills(self, data: Path | None) -> ClipSource:
        return WorldSource(
            count=self.images,
            kind="image",
            num_frames=1,
            height=self.frame,
            width=self.frame * 8 // 5,
            first_seed=5 * 10**9,
        )

    def prepare(self, *args: object) -> Run:
        return replace(super().prepare(*args), evaluate=None)  # type: ignore[arg-type]


def recipes(arm: str) -> tuple[Recipe, Recipe]:
    """The autoencoder and the image model of an arm."""
    frame, patch = ARMS[arm]
    task = AutoencoderTask(patch=patch, frame=frame, piece=(frame // 2, frame * 4 // 5), samples=16)
    autoencoder = replace(mini.autoencoder(), task=task, evaluate_every=10_000, save_every=500)
    image = Recipe(
        name="grid-image",
        task=StillsTask(frame=frame),
        parents=(autoencoder, mini.words()),
        steps=40_000,
        optimizer=Muon(lr=2e-3),
        schedule=Schedule(warmup=50, decay=0.5, shape="cosine"),
        ema=0.995,
        precision="bf16",
        evaluate_every=40_000,
        save_every=500,
    )
    return autoencoder, image


def at_full_size(video: Video) -> Video:
    """Frames as the oracle reads them, enlarged where they are smaller."""
    if video.shape[-1] == SIZE.width:
        return video
    frames = functional.interpolate(
        video[:, :, 0], size=(SIZE.height, SIZE.width), mode="bicubic", antialias=True
    )
    return frames.clamp(-1, 1)[:, :, None]


def main(out: Path, arm: str, minutes: tuple[float, float]) -> None:
    """Trains an arm for its minutes, reads what it draws, and prints and keeps the figures."""
    frame, _ = ARMS[arm]
    runs = out / arm
    if not (runs / "words").exists():
        unpack(Path(mutoscope.__file__).parent / "mini", out / f"{arm}-shipped")
        runs.mkdir(parents=True, exist_ok=True)
        for name in ("oracle", "words"):
            (out / f"{arm}-shipped" / name).rename(runs / name)
    autoencoder, image = recipes(arm)
    train(autoencoder, runs, minutes=minutes[0])
    codec = load_codec(runs / "autoencoder" / "model", "cpu")
    task = image.task
    assert isinstance(task, StillsTask)
    # Encoded before the clock of the image model starts.
    latent_cache(task._stills(None), codec, runs / "work").latents(range(0, task.images, 64))
    network = VideoUNet.from_pretrained(train(image, runs, minutes=minutes[1]) / "base")
    figures = measured(codec, network.eval(), runs, Size(frame, frame * 8 // 5))
    (out / f"{arm}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(arm, json.dumps(figures, indent=1))


def measured(codec: LatentCodec, network: VideoUNet, runs: Path, size: Size) -> dict[str, object]:
    """What the oracle reads right, in drawings and in true stills through the autoencoder."""
    oracle, text = needed_oracle(), load_text(runs / "words" / "model", "cpu")
    scenes = [s for s in scenes_to_test(4 * TESTED, "image") if is_known_in_video(s)][:TESTED]
    prompts = [caption(s, level=LEVELS[i % len(LEVELS)], seed=i) for i, s in enumerate(scenes)]
    stage = KeyFrames(network, LAW, text)
    drawn, coded, errors = [], [], []
    for start in range(0, TESTED, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        latents = stage.sample(
            stage.describe(prompts[part]),
            (codec.channels, 1, *codec.latent_size(size)),
            scheduler=LAW.scheduler("dpm++"),
            steps=STEPS,
            guidance=TextGuidance(GUIDANCE),
            generators=[torch.Generator().manual_seed(start + i) for i in range(AT_ONCE)],
        )
        true = pixels(scenes[part], num_frames=1, fps=8.0)
        small = pixels(scenes[part], num_frames=1, fps=8.0, size=size)
        with torch.inference_mode():
            drawn.append(at_full_size(codec.decode(latents).clamp(-1, 1)))
            coded.append(at_full_size(codec.decode(codec.encode(small)).clamp(-1, 1)))
        everywhere = torch.ones(AT_ONCE, 1, SIZE.height, SIZE.width, dtype=torch.bool)
        errors.append(psnr(coded[-1], true, everywhere))
    write_png(
        runs / "stills.png",
        contact_sheet(list(to_bytes(torch.cat(drawn)[:32])), prompts[:32], num_columns=1),
    )
    found: dict[str, object] = {"psnr through the autoencoder, dB": float(torch.cat(errors).mean())}
    for name, videos in (("drawn", drawn), ("ceiling", coded)):
        readings = oracle.read(torch.cat(videos), fps=8.0)
        for kind in ("single", "double"):
            members = [
                i for i, s in enumerate(scenes) if (s.arrangement == "single") == (kind == "single")
            ]
            rows = [score(scenes[i], readings[i], FACTORS) for i in members]
            shares = accuracy(rows, members)
            found[f"{name}, {kind}"] = {key: str(value) for key, value in shares.items()}
    for run in ("autoencoder", "grid-image"):
        record = json.loads((runs / run / "model" / "provenance.json").read_text())
        found[f"steps of {run}"] = record["steps"]
    return found


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5) or sys.argv[2] not in ARMS:
        sys.exit("usage: python -m benchmarks.grids OUT f8|f4 [MINUTES MINUTES]")
    torch.set_num_threads(1)
    given = (float(sys.argv[3]), float(sys.argv[4])) if len(sys.argv) == 5 else (5.0, 9.0)
    main(Path(sys.argv[1]), sys.argv[2], given)
