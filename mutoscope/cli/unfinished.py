"""Key frames on disk: a video to look at, the latents behind it, and what they are for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mutoscope.cli.making import Settings, record
from mutoscope.errors import DataError
from mutoscope.systems import System
from mutoscope.training.checkpoint import digest
from mutoscope.types import Latents
from mutoscope.video.atomic import whole
from mutoscope.video.files import probe, write_video
from mutoscope.video.frames import Frames

_NAME = "key_frames"


@dataclass(frozen=True)
class Goal:
    """What key frames are to become.

    Attributes:
        settings: Of the finished video.
        out: Where it shall lie.
        fps: Its playing speed, Hz.
    """

    settings: Settings
    out: Path
    fps: float


def keep(
    path: Path,
    frames: Frames,
    fps: float,
    latents: Latents,
    *,
    system: System,
    settings: Settings,
    goal: Goal,
) -> None:
    """Writes key frames as a video, and their latents beside it.

    Args:
        path: Of the video.
        frames: The decoded key frames.
        fps: Their playing speed, Hz.
        latents: Of one video, 1 C K h w.
        system: The model that drew them.
        settings: What made them.
        goal: What they are to become.
    """
    # The latents first: a video that names them is then never without them.
    with whole(beside(path)) as draft:
        save_file({_NAME: latents.detach().cpu().contiguous()}, draft)
    told = record(system, settings, frames) | {
        "latents_sha256": digest(beside(path)),
        "goal": {**asdict(goal), "out": str(goal.out.absolute())},
    }
    write_video(path, frames, fps, told)


def kept(path: Path) -> tuple[Goal, Latents]:
    """Key frames that `keep` wrote: what they are to become, and their latents.

    Raises:
        DataError: The video is none of these, or its latents are missing or others.
    """
    told = probe(path).metadata
    goal: Any = told.get("goal")
    if not isinstance(goal, Mapping):
        raise DataError(
            f"{path} holds no key frames to go on from: only the previews of mutoscope generate, "
            "and what --stages base makes, do. Give such a file."
        )
    settings = Settings.from_record(path, goal)
    file = beside(path)
    if not file.is_file():
        raise DataError(f"{file} is missing: the key frames are kept there. Put it beside {path}.")
    if digest(file) != told.get("latents_sha256"):
        raise DataError(f"{file} does not belong to {path}. Put the one back that came with it.")
    try:
        latents = load_file(file)[_NAME]
    except (SafetensorError, KeyError) as error:
        raise DataError(f"{file} cannot be read: {error}. Make the key frames again.") from error
    return Goal(settings, Path(goal["out"]), float(goal["fps"])), latents


def beside(path: Path) -> Path:
    """Where the latents of a video of key frames lie."""
    return path.with_name(f"{path.stem}.safetensors")


def discard(path: Path) -> None:
    """Removes a preview and its latents."""
    for each in (path, beside(path)):
        each.unlink(missing_ok=True)
