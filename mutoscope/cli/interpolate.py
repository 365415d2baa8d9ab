"""`mutoscope interpolate`: any video with more frames a second."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def interpolate(
    file: Annotated[Path, Argument(help="A video file.")],
    prompt: Annotated[str, Option(help="What it shows; the model draws better if told.")] = "",
    model: Annotated[str, Option(help="Known name or folder.")] = "lavie-mini",
    out: Annotated[Path | None, Option(help=".mp4, .gif, .webp, or a folder.")] = None,
    size: Annotated[
        str | None, Option(help="HEIGHTxWIDTH to scale and crop to before; its own by default.")
    ] = None,
    seed: Annotated[int, Option(help="Of the noise.")] = 0,
    fps: Annotated[float | None, Option(help="Playing speed; as before by default.")] = None,
    device: Annotated[str, Option(help="cpu, cuda, or auto.")] = "auto",
    dtype: Annotated[str, Option(help="fp32, bf16 or fp16.")] = "fp32",
) -> None:
    """Draw the frames between the frames of a video."""
    import numpy as np

    from mutoscope.errors import RequestError
    from mutoscope.types import Size
    from mutoscope.video.files import check_target, read_steady, write_video
    from mutoscope.video.frames import fingerprint, fit

    path = out or Path(f"{file.stem}-smooth.mp4")
    if path.suffix.lower() == ".png":
        raise RequestError(f"{path} cannot hold a video: a .png is one picture. Use .mp4.")
    frames, rate = read_steady(file)
    if size is not None:
        frames = fit(frames, Size.parse(size))
    check_target(path, rate if fps is None else fps)

    from mutoscope.cli.making import open_system, pick_device, surroundings
    from mutoscope.cli.progress import StepProgress
    from mutoscope.systems.lavie import LaVie

    system = open_system(model, pick_device(device), dtype)
    if not isinstance(system, LaVie):
        raise RequestError(f"{model} is a {type(system).__name__}, which does not interpolate.")
    with StepProgress(file.name, ["interpolate"]) as progress:
        output = system.interpolate(frames, prompt, fps=rate, seed=seed, on_step=progress)
    assert isinstance(output.frames, np.ndarray)
    made = output.frames[0]
    told = {
        "interpolated": {"file": file.name, "prompt": prompt, "seed": seed, "frames": len(frames)},
        "frames_sha256": fingerprint(made),
        "weights": system.weights_hash(),
        **surroundings(),
    }
    write_video(path, made, output.fps if fps is None else fps, told)
    print(f"{path}  ({len(frames)} frames became {len(made)}, {output.fps:g} a second)")
