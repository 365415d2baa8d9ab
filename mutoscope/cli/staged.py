"""One video, stage after stage: what each made is on disk before the next begins."""

import sys
from dataclasses import replace
from pathlib import Path

from mutoscope.cli.making import draw, record
from mutoscope.cli.narrower import Work
from mutoscope.cli.passing import Passing
from mutoscope.cli.progress import StepProgress
from mutoscope.cli.unfinished import Goal, discard, keep
from mutoscope.errors import Cancelled
from mutoscope.metrics.health import Health, Look
from mutoscope.types import Latents
from mutoscope.video.files import write_video


def make(
    work: Work, path: Path, fps: float, *, for_sheet: bool = False, start: Path | None = None
) -> Passing:
    """Runs the stages that are left, and writes the video; its frames, as they have passed.

    After each stage but the last there is a preview, which `mutoscope continue` goes on from if a
    later one fails. Not all stages: the latents are kept beside the video, for the same.

    Args:
        work: What is made, and how far it has come.
        path: Where the video shall lie.
        fps: Its playing speed, Hz.
        for_sheet: Whether frames for a contact sheet are kept.
        start: The unfinished video that is gone on from; a preview goes when its video is there.
    """
    stages = work.settings.stages.split(",")
    preview = path.with_name(f"{path.stem}.preview.mp4")
    left = start

    def attempt() -> Passing:
        system, job = work.system, work.settings
        with StepProgress(job.prompt, work.stages_left) as progress:

            def on_stage(stage: str, latents: Latents) -> None:
                nonlocal left
                progress.next_stage()
                work.done = stage, latents
                if stage != stages[-1] and job.num_frames > 1:
                    _preview(work, preview, path, fps)
                    left = preview

            drawn = draw(system, job, progress, on_stage, resume=work.done, cuts=work.cuts)
            frames = Passing(drawn, job.num_frames, for_sheet=for_sheet)
            if job.num_frames > 1 and len(stages) < len(system.stages):
                assert work.done is not None
                goal, latents = _whole(work, path, fps), work.done[1]
                keep(path, frames, fps, latents, system=system, settings=job, goal=goal)
            else:
                write_video(path, frames, fps, lambda: record(system, job, frames.sha256()))
        return frames

    try:
        frames = work.carry_on(attempt)
    except KeyboardInterrupt as stop:
        if left is None:
            raise
        raise Cancelled(
            f"stopped by Ctrl-C; what is done is kept; go on with: mutoscope continue {left}"
        ) from stop
    except BaseException:
        if left is not None:
            print(
                f"mutoscope: what is done is kept; go on with: mutoscope continue {left}",
                file=sys.stderr,
            )
        raise
    discard(preview, work.settings)
    complain(path, frames.health, work.look)
    return frames


def complain(path: Path, health: Health, made_from: Look | None) -> None:
    """Says on the error stream what is visibly wrong with the video at `path`.

    Args:
        path: Of the video.
        health: Of its frames.
        made_from: The frames that it was made from; None if of none.
    """
    for complaint in health.complaints(made_from):
        print(f"mutoscope: look at {path}: {complaint}.", file=sys.stderr)


def _preview(work: Work, preview: Path, path: Path, fps: float) -> None:
    """Writes what the last stage made, and says so, and what is wrong with it."""
    assert work.done is not None
    system, job, (stage, latents) = work.system, work.settings, work.done
    stages, count = job.stages.split(","), latents.shape[2]
    so_far = stages[: stages.index(stage) + 1]
    height, width = (side // system.enlargement(stages) for side in (job.height, job.width))
    part = replace(job, stages=",".join(so_far), num_frames=count, height=height, width=width)
    slower = fps * system.native_fps(so_far) / system.native_fps(stages)
    pieces = system.pieces(latents, None if work.cuts is None else work.cuts.small)
    frames = Passing((frame for piece in pieces for frame in piece[0]), count)
    goal = Goal(job, path, fps, work.look)
    keep(preview, frames, slower, latents, system=system, settings=part, goal=goal)
    print(
        f"{preview}  ({count} frames {height}x{width}; the rest follows, or is made by: mutoscope "
        f"continue {preview})",
        flush=True,
    )
    complain(preview, frames.health, work.look)
    work.look = work.look or frames.health.look


def _whole(work: Work, path: Path, fps: float) -> Goal:
    """What becomes of a video that was stopped early: all stages, at the speed they suit."""
    system, job = work.system, work.settings
    stages, every = job.stages.split(","), system.stages
    later = [stage for stage in every if stage not in stages]
    times = system.enlargement(later)
    faster = system.native_fps(every) / system.native_fps(stages)
    settings = replace(
        job,
        stages=",".join(every),
        num_frames=system.spanned(job.num_frames, later),
        height=times * job.height,
        width=times * job.width,
    )
    whole = path.with_name(f"{path.stem}-whole{path.suffix}")
    return Goal(settings, whole, faster * fps, work.look)
