"""`mutoscope plan`: what a video would take in time and memory, before anything runs."""

from typing import TYPE_CHECKING, Annotated

from typer import Option

from mutoscope.cli.length import check_seconds, frames_in, how_long
from mutoscope.errors import RequestError

if TYPE_CHECKING:
    from mutoscope.systems.plan import Plan


def plan(
    model: Annotated[
        str,
        Option(help="Folder, known name, or OWNER/NAME on the Hub; lavie need not be there yet."),
    ] = "lavie-mini",
    size: Annotated[str | None, Option(help="HEIGHTxWIDTH of the finished video.")] = None,
    num_frames: Annotated[int | None, Option(help="Frames of the finished video.")] = None,
    seconds: Annotated[
        float | None, Option(help="Its length, if it goes on from clip to clip.")
    ] = None,
    stages: Annotated[
        str | None, Option(help="base, or base,interpolate; all stages by default.")
    ] = None,
    memory: Annotated[str | None, Option(help="What it must fit in, e.g. 12GB.")] = None,
    device: Annotated[str, Option(help="cpu, cuda, or auto.")] = "auto",
    dtype: Annotated[
        str | None, Option(help="fp32, bf16 or fp16; fp32, or bf16 to fit in --memory of a GPU.")
    ] = None,
) -> None:
    """Say what a video would take, and how it would be cut to fit in memory."""
    from mutoscope.cli.making import pick_device, precisions
    from mutoscope.systems.lavie import LaVie
    from mutoscope.systems.load import outline
    from mutoscope.systems.long import check_clips
    from mutoscope.systems.plan import matrix_rate, read_memory, task_of
    from mutoscope.systems.plan import plan as make_plan
    from mutoscope.types import Size

    check_seconds(seconds, num_frames)
    limit = None if memory is None else read_memory(memory)
    device = pick_device(device)
    allowed = precisions(dtype, device, bounded=limit is not None)
    system = outline(model)
    if not isinstance(system, LaVie):
        raise RequestError(f"{model} is a {type(system).__name__}, which cannot be planned.")
    wanted = system.check_stages(None if stages is None else stages.split(","))
    frames = system.native_num_frames(wanted) if num_frames is None else num_frames
    if seconds is not None:
        frames = frames_in(seconds, system.native_fps(wanted), system.most_frames(wanted))
        check_clips(system.base, frames, len(system.clips_of(frames, wanted)), None)
    native, times = system.native_size, system.enlargement(wanted)
    asked = Size(times * native.height, times * native.width) if size is None else Size.parse(size)
    config = system.config
    going_on = seconds is not None
    task = task_of(
        system, wanted, frames, asked, config.steps, config.guidance_scale, long=going_on
    )
    made = make_plan(system, task, memory=limit, dtypes=allowed, device=device)
    between = f", by way of {task.size}" if task.size != asked else ""
    count = "1 frame" if frames == 1 else f"{frames} frames"
    print(f"{model}: {count} of {asked}{between}, {','.join(wanted)}")
    if going_on:
        print(how_long(system, frames, wanted, system.native_fps(wanted)))
    print(table(made, matrix_rate(device, made.dtype), device))


def table(made: "Plan", rate: float, device: str) -> str:
    """The plan as text.

    Args:
        made: What is shown.
        rate: Operations a second of matrix products on the device.
        device: As torch names it.
    """
    from mutoscope.systems.plan import SHARE, memory_text, seconds

    rows = [("", "parameters", "TFLOP", "memory", "seconds", "at once")]
    rows += [
        (
            line.name,
            f"{line.parameters / 1e6:.1f} M",
            f"{line.flops / 1e12:.2f}",
            memory_text(line.peak),
            f"{seconds(line.flops, rate):.1f}",
            "" if line.cut is None else str(line.cut),
        )
        for line in made.lines
    ]
    total = f"{made.flops / 1e12:.2f}", memory_text(made.peak), f"{seconds(made.flops, rate):.1f}"
    rows.append(("in all", "", *total, ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    name, *numbers, last = widths
    lines = [
        "  ".join(
            [
                row[0].ljust(name),
                *(cell.rjust(width) for cell, width in zip(row[1:-1], numbers, strict=True)),
                row[-1].ljust(last),
            ]
        ).rstrip()
        for row in rows
    ]
    resident = "each network in memory only while it works" if made.offload else "all in memory"
    precision = str(made.dtype).removeprefix("torch.")
    return "\n".join(
        [
            *lines,
            f"{precision}, {resident}; {device} multiplies matrices at {rate / 1e12:.2f} TFLOP/s, "
            f"of which networks are taken to reach {SHARE:.0%}",
        ]
    )
