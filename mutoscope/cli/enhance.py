"""`mutoscope interpolate` and `upscale`: any video with more frames a second, or larger frames."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from mutoscope.errors import RequestError

if TYPE_CHECKING:
    from mutoscope.cli.progress import StepProgress
    from mutoscope.systems import VideoOutput
    from mutoscope.systems.cuts import Cuts
    from mutoscope.systems.lavie import LaVie
    from mutoscope.video.frames import Footage

    Enhance = Callable[[LaVie, Footage, float, StepProgress, Cuts | None], VideoOutput]

_File = Annotated[Path, Argument(help="A video file.")]
_Prompt = Annotated[str, Option(help="What it shows; the model draws better if told.")]
_Model = Annotated[str, Option(help="Folder, known name, or OWNER/NAME on the Hub.")]
_Out = Annotated[Path | None, Option(help=".mp4, .gif, .webp, or a folder.")]
_Size = Annotated[
    str | None, Option(help="HEIGHTxWIDTH to scale and crop to before; its own by default.")
]
_Seed = Annotated[int, Option(help="Of the noise.")]
_Fps = Annotated[float | None, Option(help="Playing speed; as before by default.")]
_Device = Annotated[str, Option(help="cpu, cuda, or auto.")]
_Dtype = Annotated[
    str | None, Option(help="fp32, bf16 or fp16; fp32, or bf16 to fit in --memory of a GPU.")
]
_Memory = Annotated[str | None, Option(help="What it must fit in, e.g. 12GB; see mutoscope plan.")]


def interpolate(
    file: _File,
    prompt: _Prompt = "",
    model: _Model = "lavie-mini",
    out: _Out = None,
    size: _Size = None,
    seed: _Seed = 0,
    fps: _Fps = None,
    device: _Device = "auto",
    dtype: _Dtype = None,
    memory: _Memory = None,
) -> None:
    """Draw the frames between the frames of a video."""

    def smooth(
        system: "LaVie",
        frames: "Footage",
        rate: float,
        progress: "StepProgress",
        cuts: "Cuts | None",
    ) -> "VideoOutput":
        return system.interpolate(
            frames,
            prompt,
            fps=rate,
            seed=seed,
            cuts=cuts,
            on_step=progress,
            output_type="pieces",
        )

    told = {"stage": "interpolate", "file": file.name, "prompt": prompt, "seed": seed}
    target = out or Path(f"{file.stem}-smooth.mp4")
    _enhance(smooth, file, target, size, fps, model, device, dtype, memory, told)


def upscale(
    file: _File,
    prompt: _Prompt = "",
    model: _Model = "lavie-mini",
    out: _Out = None,
    size: _Size = None,
    noise_level: Annotated[
        int | None, Option(help="0 trusts the video, more draws more anew; the model's by default.")
    ] = None,
    seed: _Seed = 0,
    fps: _Fps = None,
    device: _Device = "auto",
    dtype: _Dtype = None,
    memory: _Memory = None,
) -> None:
    """Draw the frames of a video larger."""

    def enlarge(
        system: "LaVie",
        frames: "Footage",
        rate: float,
        progress: "StepProgress",
        cuts: "Cuts | None",
    ) -> "VideoOutput":
        return system.upscale(
            frames,
            prompt,
            fps=rate,
            noise_level=noise_level,
            seed=seed,
            cuts=cuts,
            on_step=progress,
            output_type="pieces",
        )

    told = {
        "stage": "upscale",
        "file": file.name,
        "prompt": prompt,
        "seed": seed,
        "noise_level": noise_level,
    }
    target = out or Path(f"{file.stem}-large.mp4")
    _enhance(enlarge, file, target, size, fps, model, device, dtype, memory, told)


def _enhance(
    enhance: "Enhance",
    file: Path,
    path: Path,
    size: str | None,
    fps: float | None,
    model: str,
    device: str,
    dtype: str | None,
    memory: str | None,
    told: dict[str, object],
) -> None:
    from mutoscope.types import Size
    from mutoscope.video.files import check_target, read_steady, write_video

    if path.suffix.lower() == ".png":
        raise RequestError(f"{path} cannot hold a video: a .png is one picture. Use .mp4.")
    frames, rate = read_steady(file, None if size is None else Size.parse(size))
    check_target(path, rate if fps is None else fps)

    from mutoscope.cli.making import open_system, open_within, pick_device, surroundings
    from mutoscope.cli.passing import Passing, Watched
    from mutoscope.cli.progress import StepProgress
    from mutoscope.cli.staged import complain
    from mutoscope.systems.lavie import LaVie
    from mutoscope.systems.plan import task_of_video

    device, cuts = pick_device(device), None
    stage, (count, height, width, _) = str(told["stage"]), frames.shape
    if memory is None:
        system = open_system(model, device, dtype or "fp32")
    else:
        asked = stage, count, Size(height, width)
        system, _, cuts = open_within(
            model, device, dtype, memory, lambda system: task_of_video(system, *asked)
        )
    if not isinstance(system, LaVie):
        raise RequestError(f"{model} is a {type(system).__name__}, which cannot do that.")
    faster = system.config.factor if stage == "interpolate" else 1
    # A model without that network says so itself, as soon as it is asked.
    times = system.enlargement([stage]) if stage in system.stages else 1
    playing = faster * rate if fps is None else fps
    check_target(path, playing, Size(times * height, times * width))
    with StepProgress(file.name, [stage]) as progress:
        given = Watched(frames)
        output = enhance(system, given, rate, progress, cuts)
        made = system.spanned(count, [stage])
        drawn = Passing((frame for piece in output.frames for frame in piece[0]), made)

        def record() -> dict[str, object]:
            return {
                "enhanced": told,
                "frames_sha256": drawn.sha256(),
                "weights": system.weights_hash(),
                **surroundings(),
            }

        write_video(path, drawn, playing, record)
    complain(path, drawn.health, given.health.look)
    print(
        f"{path}  ({count} frames {height}x{width} became {made} frames "
        f"{times * height}x{times * width}, {playing:g} a second)"
    )
