"""How a video was made: the settings that determine its frames, and the record its file carries."""

import ctypes
import hashlib
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from mutoscope import __version__
from mutoscope.cli.picture import same_picture
from mutoscope.diffusion.denoise import OnStep
from mutoscope.diffusion.reuse import Reuse
from mutoscope.errors import DataError, RequestError
from mutoscope.metrics.health import check_finite
from mutoscope.systems import System, load
from mutoscope.systems.cuts import Cuts
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import check_device, outline
from mutoscope.systems.plan import DECODE, Plan, Task, plan, read_memory, task_of
from mutoscope.systems.reading import quietly
from mutoscope.systems.system import OnStage
from mutoscope.types import Latents, Size
from mutoscope.video.frames import Frame

_PACKAGE = Path(__file__).parents[1]
_MMAP_THRESHOLD = -3  # the number of this setting in malloc.h
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
        memory: What it had to fit in, as "12GB", which says how the work is cut; "" for anything.
        narrowed: From which stage on it had to fit in less, because memory had run out, and in how
            much: as "upscale 900MB", in order, with commas; "" where it never did. After the last
            stage comes "decode".
        long: Whether it goes on from clip to clip.
        image: Absolute path of the picture that it begins with; empty for none.
        image_sha256: Hash of the picture's pixels.
        reuse_interval: Every so many steps the base is computed whole (see `Reuse`); 1 is always.
        reuse_layers: How many of its layers are computed anew in the other steps.
        compiled: Whether networks are compiled, which changes last bits.
        noise_level: Of the upscaler; None for the model's own.
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
    memory: str = ""
    narrowed: str = ""
    long: bool = False
    image: str = ""
    image_sha256: str = ""
    reuse_interval: int = 1
    reuse_layers: int = 0
    compiled: bool = False
    noise_level: int | None = None

    @property
    def reuse(self) -> Reuse | None:
        """How the base reuses deep features; None for not."""
        if self.reuse_interval == 1:
            return None
        return Reuse(interval=self.reuse_interval, layers=self.reuse_layers)

    @property
    def limits(self) -> list[tuple[str, str]]:
        """From which stages on it had to fit in how much memory; none where it need not."""
        first = [(self.stages.split(",")[0], self.memory)] if self.memory else []
        parts = [part.split() for part in self.narrowed.split(",") if part]
        return [*first, *((stage, memory) for stage, memory in parts)]

    def stages_before(self, stage: str) -> list[str]:
        """The stages that run before one, or before decoding."""
        stages = [*self.stages.split(","), DECODE]
        return stages[: stages.index(stage)]

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
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        if not isinstance(found, dict) or not needed <= set(found) <= known:
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
    check_device(device)
    return device


def precisions(dtype: str | None, device: str, *, bounded: bool) -> list[torch.dtype]:
    """The precisions that may be used, the best first.

    Args:
        dtype: "fp32", "bf16" or "fp16"; None leaves the choice.
        device: As torch names it. On a CPU the choice is fp32, as most take longer for others.
        bounded: Whether memory is; if not, the choice is fp32.

    Raises:
        RequestError: Unknown precision.
    """
    if dtype is None:
        free = bounded and device != "cpu"
        return [torch.float32, torch.bfloat16] if free else [torch.float32]
    if dtype not in _DTYPES:
        raise RequestError(f"dtype {dtype!r} is unknown: possible are {', '.join(_DTYPES)}.")
    return [_DTYPES[dtype]]


def open_within(
    model: str,
    device: str,
    dtype: str | None,
    memory: str,
    task: Callable[[LaVie], Task],
    lora: str = "",
) -> tuple[System, str, Cuts]:
    """Loads a model so that a task fits in memory.

    Args:
        model: Known name or folder.
        device: As torch names it.
        dtype: "fp32", "bf16" or "fp16"; None for the best that fits (see `precisions`).
        memory: As "12GB".
        task: What is to be made, of the model without weights.
        lora: Folder of a LoRA to load too; empty for none.

    Returns:
        The system, its precision by name, and how its work is to be cut.

    Raises:
        RequestError: It does not fit, however the work is cut.
        ModelError: See `mutoscope.load` and `LaVie.load_lora`.
    """
    made = planned(outline(model), device, dtype, memory, task, resident=bool(lora))
    name = next(name for name, each in _DTYPES.items() if each == made.dtype)
    return open_planned(model, device, made, lora), name, made.cuts


def planned(
    system: System,
    device: str,
    dtype: str | None,
    memory: str,
    task: Callable[[LaVie], Task],
    *,
    resident: bool,
) -> Plan:
    """The plan that `open_within` follows.

    Args:
        system: The model without weights.
        device: As torch names it.
        dtype: As of `open_within`.
        memory: As "12GB"; "" for as much as there may be.
        task: What is to be made, of the system.
        resident: Whether all networks have to stay in memory, as with a LoRA: what is read from
            disk each time does not know it.

    Raises:
        RequestError: It does not fit, however the work is cut.
    """
    assert isinstance(system, LaVie)
    limit = read_memory(memory) if memory else None
    dtypes = precisions(dtype, device, bounded=True)
    return plan(system, task(system), memory=limit, dtypes=dtypes, device=device, resident=resident)


def open_planned(model: str, device: str, made: Plan, lora: str) -> System:
    """Loads a model as a plan has it.

    Args:
        model: Known name or folder.
        device: As torch names it.
        made: The plan.
        lora: Folder of a LoRA to load too; empty for none.
    """
    if device == "cpu":
        give_back_memory()
    if lora:
        return _taught(model, lora, device, made.dtype)
    return load(model, device=device, dtype=made.dtype, offload=made.offload)


def give_back_memory() -> None:
    """Has the C library return freed tensors of a megabyte and more to the machine at once.

    It would keep those below 32 MB in pieces, which for small networks adds half to the peak. Where
    it is not glibc, nothing changes.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, 1 << 20)


def open_for(settings: "Settings") -> tuple[System, Cuts | None]:
    """Loads the model that made, or is to make, a video, and says how its work is cut.

    Args:
        settings: Of the video.

    Raises:
        RequestError: See `open_within`.
        ModelError: See `mutoscope.load`.
    """
    device = pick_device(settings.device)
    if not settings.limits:
        system = open_system(settings.model, device, settings.dtype, settings.lora)
        if settings.compiled:
            system.compile_networks()
        return system, None
    system = outline(settings.model)
    assert isinstance(system, LaVie)
    cuts = system.usual_cuts(device)
    for stage, memory in settings.limits:
        task = partial(task_for, settings=settings)
        made = planned(system, device, settings.dtype, memory, task, resident=bool(settings.lora))
        cuts = made.cuts.beginning_with(cuts, settings.stages_before(stage))
    return open_planned(settings.model, device, made, settings.lora), cuts


def task_for(system: LaVie, settings: "Settings") -> Task:
    """What a plan is told of the settings of a video.

    Args:
        system: Without weights.
        settings: What is to be made.
    """
    size = Size(settings.height, settings.width)
    asked = settings.stages.split(","), settings.num_frames, size
    return task_of(system, *asked, settings.steps, settings.guidance, long=settings.long)


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
    (precision,) = precisions(dtype, device, bounded=False)
    if lora:
        return _taught(model, lora, device, precision)
    return load(model, device=device, dtype=precision)


def _taught(model: str, lora: str, device: str, dtype: torch.dtype) -> System:
    """A model that knows the word of a LoRA."""
    # Whether a LoRA fits shows in the weights as they are stored.
    system = load(model).load_lora(lora)
    with quietly():
        system.to(device, dtype)
    return system


def draw(
    system: System,
    settings: Settings,
    on_step: OnStep,
    on_stage: OnStage | None = None,
    resume: tuple[str, torch.Tensor] | None = None,
    cuts: Cuts | None = None,
) -> Iterator[Frame]:
    """Draws what `settings` determine; the number of threads is set.

    All stages run now, but for upscaling: its frames are drawn, as all are decoded, when they are
    taken.

    Args:
        system: The model named in the settings.
        settings: What to make.
        on_step: Called as `on_step(done, total, latents)`.
        on_stage: Called as `on_stage(name, latents)` after each stage.
        resume: A stage, and the latents that it drew from these settings before.
        cuts: How the work is cut (see `open_for`).

    Returns:
        The frames, uint8 H W 3, once.

    Raises:
        DataError: The picture that it begins with is missing; to go on from latents none is needed.
    """
    torch.set_num_threads(settings.threads)
    begins = settings.image and resume is None
    image = same_picture(settings.image, settings.image_sha256) if begins else None

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
        noise_level=settings.noise_level,
        seeds=settings.seed,
        stages=settings.stages.split(","),
        image=image,
        long=settings.long,
        resume=resume,
        cuts=cuts,
        reuse=settings.reuse,
        on_step=on_step,
        on_stage=checked,
        output_type="pieces",
    )
    return (frame for piece in output.frames for frame in piece[0])


def record(system: System, settings: Settings, frames_sha256: str) -> dict[str, object]:
    """What a file carries about how it was made, as JSON values.

    Args:
        system: The model that made the frames.
        settings: What it was told.
        frames_sha256: Of the frames that came out.
    """
    return {
        "settings": asdict(settings),
        "frames_sha256": frames_sha256,
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
