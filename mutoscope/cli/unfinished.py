"""Unfinished videos on disk: frames to look at, the latents behind them, and what they become."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mutoscope.cli.making import Settings, record
from mutoscope.cli.passing import Passing
from mutoscope.errors import DataError
from mutoscope.metrics.health import Look
from mutoscope.systems import System
from mutoscope.training.checkpoint import digest
from mutoscope.types import Latents
from mutoscope.video.atomic import whole
from mutoscope.video.files import probe, write_video

_NAME = "latents"


@dataclass(frozen=True)
class Goal:
    """What an unfinished video is to become.

    Attributes:
        settings: Of the finished video.
        out: Where it shall lie.
        fps: Its playing speed, Hz.
        look: What the key frames look like, once they are there.
    """

    settings: Settings
    out: Path
    fps: float
    look: Look | None = None


def keep(
    path: Path,
    frames: Passing,
    fps: float,
    latents: Latents,
    *,
    system: System,
    settings: Settings,
    goal: Goal,
) -> None:
    """Writes an unfinished video, and its latents beside it.

    Args:
        path: Of the video.
        frames: Its frames.
        fps: Their playing speed, Hz.
        latents: What they were decoded from, 1 C F h w.
        system: The model that drew them.
        settings: What made them; the last of its stages is gone on from.
        goal: What they are to become.
    """
    # The latents first, under a name of their own: at any time a video has those that it names.
    *before, stage = settings.stages.split(",")
    file = beside(path, stage)
    with whole(file) as draft:
        save_file({_NAME: latents.detach().cpu().contiguous()}, draft)

    def told() -> dict[str, object]:
        return record(system, settings, frames.sha256()) | {
            "latents_sha256": digest(file),
            "goal": {
                **asdict(goal),
                "out": str(goal.out.absolute()),
                "look": asdict(goal.look or frames.health.look),
            },
        }

    write_video(path, frames, fps, told)
    for each in before:
        beside(path, each).unlink(missing_ok=True)


def kept(path: Path) -> tuple[Goal, str, Latents]:
    """What `keep` wrote: what it is to become, the stage that made it, and its latents.

    Raises:
        DataError: The video is finished, or its latents are missing or others.
    """
    told = probe(path).metadata
    goal: Any = told.get("goal")
    if not isinstance(goal, Mapping):
        raise DataError(
            f"{path} is no unfinished video: only previews of mutoscope generate, and what it "
            "makes with --stages, are. Give such a file."
        )
    settings = Settings.from_record(path, goal)
    stage = Settings.from_record(path, told).stages.split(",")[-1]
    file = beside(path, stage)
    if not file.is_file():
        raise DataError(f"{file} is missing: the latents are kept there. Put it beside {path}.")
    if digest(file) != told.get("latents_sha256"):
        raise DataError(f"{file} does not belong to {path}. Put the one back that came with it.")
    try:
        latents = load_file(file)[_NAME]
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{file} cannot be read: {error}. Make the video again.") from error
    look = Look.from_record(goal["look"]) if "look" in goal else None
    return Goal(settings, Path(goal["out"]), float(goal["fps"]), look), stage, latents


def beside(path: Path, stage: str) -> Path:
    """Where the latents of an unfinished video lie, of which `stage` was the last."""
    return path.with_name(f"{path.stem}.{stage}.safetensors")


def discard(path: Path, settings: Settings) -> None:
    """Removes a preview of what `settings` make, and its latents."""
    path.unlink(missing_ok=True)
    for stage in settings.stages.split(","):
        beside(path, stage).unlink(missing_ok=True)
