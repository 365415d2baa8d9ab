"""How a video was made: the settings that determine its frames, and the record its file carries."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import torch

from mutoscope import __version__
from mutoscope.diffusion.denoise import OnStep
from mutoscope.errors import DataError, RequestError
from mutoscope.metrics.health import check_finite
from mutoscope.systems import System, load
from mutoscope.systems.load import quietly
from mutoscope.systems.system import OnStage
from mutoscope.types import Latents, Size
from mutoscope.video.frames import Frames, fingerprint

_PACKAGE = Path(__file__).parents[1]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# A change in one of these may change the last bit of a result.
_LIBRARIES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that determines the frames of one video, besides weights and code.

    Attributes:
        model: Known name or absolute folder.
        prompt: What to show.
        negative: What all stages lead away from; None for what the model has for each.
        seed: Of the noise.
        stages: Which stages ran, with commas.
        num_frames: Frames of the finished video.
        height: Pixels.
        width: Pixels.
        steps: Sampling steps of the key frames.
        guidance: Guidance scale of the key frames.
        device: As torch names it.
        dtype: "fp32", "bf16" or "fp16".
        threads: CPU threads; sums are split among them, so their number changes last bits.
        lora: Absolute folder of a LoRA; empty for none.
    """

    model: str
    prompt: str
    negative: str | None
    seed: int
    stages: str
    num_frames: int
    height: int
    width: int
    steps: int
    guidance: float
    device: str
    dtype: str
    threads: int
    lora: str = ""

    @classmethod
    def from_record(cls, path: Path, record: Mapping[str, object]) -> "Settings":
        """Reads the settings back from a file's record.

        Args:
            path: The file, for the message.
            record: Its metadata.

        Raises:
            DataError: The file was not made by `mutoscope generate`.
        """
        found = record.get("settings")
        known = {f.name for f in fields(cls)}
        # Records from before there were LoRAs do not speak of them.
        if not isinstance(found, dict) or not known - {"lora"} <= set(found) <= known:
            raise DataError(
                f"{path} does not say how it was made: only files of mutoscope generate do, until "
                "another program rewrites them. Use the original file."
            )
        return cls(**found)


def pick_device(device: str) -> str:
    """The device meant by "auto", or the one named, if torch has it.

    Raises:
        RequestError: It has not.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RequestError(
            f"device {device!r} cannot be used here. Use cpu"
            + (", or cuda." if torch.cuda.is_available() else "; this machine has no CUDA.")
        ) from error
    return device


def open_system(model: str, device: str, dtype: str, lora: str = "") -> System:
    """Loads a model for the command line.

    Args:
        model: Folder, known name, or OWNER/NAME on the Hub.
        device: As torch names it.
        dtype: "fp32", "bf16" or "fp16".
        lora: Folder of a LoRA to load too; empty for none.

    Raises:
        RequestError: Unknown precision.
        ModelError: See `mutoscope.load` and `LaVie.load_lora`.
    """
    if dtype not in _DTYPES:
        raise RequestError(f"dtype {dtype!r} is unknown: possible are {', '.join(_DTYPES)}.")
    if not lora:
        return load(model, device=device, dtype=_DTYPES[dtype])
    # Whether a LoRA fits shows in the weights as they are stored.
    system = load(model).load_lora(lora)
    with quietly():
        system.to(device, _DTYPES[dtype])
    return system


def draw(
    system: System,
    settings: Settings,
    on_step: OnStep,
    on_stage: OnStage | None = None,
    resume: tuple[str, torch.Tensor] | None = None,
) -> Frames:
    """Makes the frames that `settings` determine, uint8 F H W 3; the number of threads is set.

    Args:
        system: The model named in the settings.
        settings: What to make.
        on_step: Called as `on_step(done, total, latents)`.
        on_stage: Called as `on_stage(name, latents)` after each stage.
        resume: A stage, and the latents that it drew from these settings before.
    """
    torch.set_num_threads(settings.threads)

    def checked(stage: str, latents: Latents) -> None:
        check_finite(latents, stage)
        if on_stage is not None:
            on_stage(stage, latents)

    # One video at a time: its bits then do not depend on what else was asked for.
    output = system(
        settings.prompt,
        negative_prompt=settings.negative,
        num_frames=settings.num_frames,
        size=Size(settings.height, settings.width),
        steps=settings.steps,
        guidance_scale=settings.guidance,
        seeds=settings.seed,
        stages=settings.stages.split(","),
        resume=resume,
        on_step=on_step,
        on_stage=checked,
    )
    frames: Frames = output.frames[0]
    return frames


def record(system: System, settings: Settings, frames: Frames) -> dict[str, object]:
    """What a file carries about how it was made, as JSON values.

    Args:
        system: The model that made the frames.
        settings: What it was told.
        frames: What came out.
    """
    return {
        "settings": asdict(settings),
        "frames_sha256": fingerprint(frames),
        "weights": system.weights_hash(),
        **surroundings(),
    }


def surroundings() -> dict[str, object]:
    """The code and libraries at work here."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    versions = {name: version(name) for name in _LIBRARIES}
    return {
        "mutoscope": __version__,
        "package": digest.hexdigest()[:16],
        "versions": {"python": platform.python_version(), **versions},
        "machine": platform.machine(),
    }
