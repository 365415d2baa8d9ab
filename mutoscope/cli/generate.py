"""`mutoscope generate`: sentences become video files."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from mutoscope.cli.length import check_seconds, frames_in, how_long
from mutoscope.errors import RequestError

if TYPE_CHECKING:
    from mutoscope.cli.making import Settings
    from mutoscope.systems import System
    from mutoscope.systems.cuts import Cuts

_NAME_LENGTH = 40


def generate(
    prompt: Annotated[list[str] | None, Argument(help="What to show; one video for each.")] = None,
    model: Annotated[
        str, Option(help="Folder, known name, or OWNER/NAME on the Hub.")
    ] = "lavie-mini",
    lora: Annotated[
        Path | None, Option(help="Folder of `personalize`: the model then knows its word.")
    ] = None,
    out: Annotated[
        Path | None,
        Option(help=".mp4, .gif, .webp, .png (a still), or no ending: a folder of pictures."),
    ] = None,
    prompts: Annotated[Path | None, Option(help="Text file with one prompt per line.")] = None,
    negative: Annotated[
        str | None, Option(help="What to lead away from; the model's own by default.")
    ] = None,
    seed: Annotated[int, Option(help="Of the first video; the others count up.")] = 0,
    num_videos: Annotated[int, Option(help="Videos of each prompt.")] = 1,
    steps: Annotated[int | None, Option(help="Sampling steps; the model's own by default.")] = None,
    guidance: Annotated[float | None, Option(help="Guidance scale, 1 is none.")] = None,
    noise_level: Annotated[
        int | None, Option(help="Of the upscaling: 0 trusts the small video; as of upscale.")
    ] = None,
    size: Annotated[str | None, Option(help="HEIGHTxWIDTH in pixels.")] = None,
    num_frames: Annotated[int | None, Option(help="Frames of each finished video.")] = None,
    seconds: Annotated[
        float | None, Option(help="Its length: it goes on from clip to clip, then is trimmed.")
    ] = None,
    image: Annotated[
        Path | None, Option(help="Picture that each video begins with; its middle is used.")
    ] = None,
    stages: Annotated[
        str | None, Option(help="Stop early: base for key frames only; all stages by default.")
    ] = None,
    still: Annotated[bool, Option("--still", help="A picture from the same network.")] = False,
    fps: Annotated[float | None, Option(help="Playing speed; the frames stay the same.")] = None,
    sheet: Annotated[bool, Option("--sheet", help="Also write a contact sheet.")] = False,
    device: Annotated[str, Option(help="cpu, cuda, or auto.")] = "auto",
    dtype: Annotated[
        str | None, Option(help="fp32, bf16 or fp16; fp32, or bf16 to fit in --memory of a GPU.")
    ] = None,
    memory: Annotated[
        str | None, Option(help="What it must fit in, e.g. 12GB; see mutoscope plan.")
    ] = None,
    compiled: Annotated[
        bool,
        Option("--compile", help="Compile networks first: minutes that pay off in many videos."),
    ] = False,
    max_quality_loss: Annotated[
        str, Option(help="Allowed for speed, as measured: e.g. 2% of the pixel range; 0 is exact.")
    ] = "0",
) -> None:
    """Make videos from sentences."""
    texts = _texts(prompt or [], prompts)
    if num_videos < 1:
        raise RequestError(f"--num-videos {num_videos} makes nothing. Use 1 or more.")
    if still and num_frames not in (None, 1):
        raise RequestError(f"--still is 1 frame, not {num_frames}. Leave one of the two out.")
    check_seconds(seconds, num_frames, still)
    if compiled and memory is not None:
        raise RequestError(
            "--compile cannot be used with --memory: no plan knows what compiled networks take. "
            "Leave one of the two out."
        )
    wanted = [(text, seed + number) for text in texts for number in range(num_videos)]
    paths = _paths(out, wanted, ".png" if still else ".mp4")

    # What the request alone shows to be wrong is said before the model is loaded.
    import torch

    from mutoscope.cli.making import Settings, open_system, open_within, pick_device, task_for
    from mutoscope.cli.picture import how_it_is_cut, open_picture
    from mutoscope.cli.reuse import reusing
    from mutoscope.systems.load import outline
    from mutoscope.systems.reuse_curve import read_loss
    from mutoscope.types import Size
    from mutoscope.video.files import check_target

    loss = read_loss(max_quality_loss)
    if loss and memory is not None:
        raise RequestError(
            "--max-quality-loss cannot be used with --memory: what is reused is kept in memory, "
            "which no plan knows of yet. Leave one of the two out."
        )
    picture, picture_hash = (None, "") if image is None else open_picture(image)
    asked_size = None if size is None else Size.parse(size)
    for path in paths:
        check_target(path, 1.0 if fps is None else fps)
    device = pick_device(device)
    taught = "" if lora is None else str(lora.resolve())
    system = outline(model) if memory else open_system(model, device, dtype or "fp32", taught)
    native = system.config
    wanted_stages = system.check_stages(None if stages is None else stages.split(","))
    times = system.enlargement(wanted_stages)
    native_size = Size(times * system.native_size.height, times * system.native_size.width)
    frame_size = asked_size or native_size
    rate = system.native_fps(wanted_stages) if fps is None else fps
    for path in paths:
        check_target(path, rate)
    system.check_texts(texts, negative, wanted_stages)
    if noise_level is not None:
        system.check_noise_level(noise_level)
    if still:
        num_frames = 1
    if seconds is not None:
        num_frames = frames_in(seconds, rate, system.most_frames(wanted_stages))
    first = Settings(
        model=str(Path(model).resolve()) if Path(model).is_dir() else model,
        prompt=texts[0],
        negative=negative,
        seed=seed,
        stages=",".join(wanted_stages),
        num_frames=(system.native_num_frames(wanted_stages) if num_frames is None else num_frames),
        height=frame_size.height,
        width=frame_size.width,
        steps=native.steps if steps is None else steps,
        guidance=native.guidance_scale if guidance is None else guidance,
        device=device,
        dtype=dtype or "fp32",
        lora=taught,
        threads=torch.get_num_threads(),
        memory=memory or "",
        long=seconds is not None,
        image="" if image is None else str(image.resolve()),
        image_sha256=picture_hash,
        compiled=compiled,
        noise_level=noise_level,
    )
    if paths[0].suffix.lower() == ".png" and first.num_frames != 1:
        raise RequestError(
            f"{paths[0]} cannot hold {first.num_frames} frames: a .png is one picture. Add "
            "--still for that, leave the ending out for a folder of pictures, or use .mp4."
        )
    cuts = None
    if memory:
        asked = model, device, dtype, memory
        system, dtype, cuts = open_within(*asked, lambda system: task_for(system, first), taught)
        first = replace(first, dtype=dtype)
    _warn_of_unknown_words(system, texts)
    if compiled:
        system.compile_networks()
    if loss:
        first = reusing(system, first, loss)
    jobs = [replace(first, prompt=text, seed=number) for text, number in wanted]
    _make(system, jobs, paths, rate, sheet, cuts)
    if first.long:
        print(how_long(system, first.num_frames, wanted_stages, rate))
    if image is not None and picture is not None:
        small = Size(frame_size.height // times, frame_size.width // times)
        print(how_it_is_cut(image, picture, small.height, small.width))


def _warn_of_unknown_words(system: "System", texts: list[str]) -> None:
    unknown = dict.fromkeys(word for text in texts for word in system.unknown_words(text))
    if unknown:
        words = ", ".join(map(repr, unknown))
        print(f"mutoscope: the model never learned {words}; it will guess.", file=sys.stderr)


def _make(
    system: "System",
    jobs: "list[Settings]",
    paths: list[Path],
    fps: float,
    sheet: bool,
    cuts: "Cuts | None",
) -> None:
    import numpy as np

    from mutoscope.cli.narrower import Work
    from mutoscope.cli.progress import measured
    from mutoscope.cli.staged import make
    from mutoscope.video.sheets import contact_sheet, write_png

    clips = []
    work = Work(system, jobs[0], cuts)
    for job, path in zip(jobs, paths, strict=True):
        work.turn_to(job)
        with measured(job.device) as cost:
            kept = make(work, path, fps, for_sheet=sheet).kept
        count = "1 frame" if job.num_frames == 1 else f"{job.num_frames} frames"
        size = f"{count} {job.height}x{job.width}"
        spent = f"{cost.seconds:.1f} s, {cost.megabytes:.0f} MB"
        print(f"{path}  ({size}, seed {job.seed}, {spent})", flush=True)
        if sheet:
            clips.append(np.stack(kept))
    if sheet:
        path = paths[0].with_name(f"{paths[0].stem}-sheet.png")
        write_png(path, contact_sheet(clips, [f"{j.prompt}  (seed {j.seed})" for j in jobs]))
        print(f"{path}  (contact sheet)")


def _texts(prompts: list[str], file: Path | None) -> list[str]:
    """The prompts of the command line, then those of the file."""
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise RequestError(f"--prompts {file} cannot be read: {reason}.") from error
        prompts = [*prompts, *(line.strip() for line in lines if line.strip())]
    if not prompts or not all(text.strip() for text in prompts):
        raise RequestError(
            "an empty prompt cannot be drawn: a prompt is a sentence that says what to show. "
            'Write e.g. mutoscope generate "a red star drifts left over the sea at night".'
        )
    return prompts


def _paths(out: Path | None, wanted: list[tuple[str, int]], ending: str) -> list[Path]:
    """One path per video; names say prompt and seed, or count up from the name given."""
    if out is None:
        slugs = [re.sub(r"\W+", "-", text.lower())[:_NAME_LENGTH].strip("-") for text, _ in wanted]
        paths = [
            Path(f"{slug or 'video'}-{seed}{ending}")
            for slug, (_, seed) in zip(slugs, wanted, strict=True)
        ]
        if len(set(paths)) == len(paths):
            return paths
        out = Path(f"video{ending}")
    if len(wanted) == 1:
        return [out]
    digits = len(str(len(wanted) - 1))
    return [out.with_name(f"{out.stem}-{i:0{digits}}{out.suffix}") for i in range(len(wanted))]
