"""`mutoscope continue`: an unfinished video on disk becomes the whole one."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def go_on(
    file: Annotated[Path, Argument(help="A preview, or what `generate --stages` made.")],
    out: Annotated[
        Path | None, Option(help="The finished video; as first meant by default.")
    ] = None,
) -> None:
    """Finish a video of which the first stages are done; the same frames as in one go."""
    from mutoscope.cli.unfinished import kept

    goal, done, latents = kept(file)

    from mutoscope.cli.making import draw, open_for, record
    from mutoscope.cli.narrower import Work
    from mutoscope.cli.passing import Passing
    from mutoscope.cli.progress import StepProgress
    from mutoscope.types import Latents
    from mutoscope.video.files import check_target, write_video

    settings, path = goal.settings, out or goal.out
    check_target(path, goal.fps)
    system, cuts = open_for(settings)
    work = Work(system, settings, cuts, (done, latents.to(settings.device)))

    def attempt() -> Passing:
        system, settings = work.system, work.settings
        with StepProgress(settings.prompt, work.stages_left) as progress:

            def on_stage(stage: str, latents: Latents) -> None:
                work.done = stage, latents
                progress.next_stage()

            drawn = draw(system, settings, progress, on_stage, resume=work.done, cuts=work.cuts)
            frames = Passing(drawn, settings.num_frames)
            write_video(path, frames, goal.fps, lambda: record(system, settings, frames.sha256()))
        return frames

    frames = work.carry_on(attempt)
    count, size = settings.num_frames, f"{settings.height}x{settings.width}"
    print(f"{path}  ({count} frames {size}, seed {settings.seed})")
    for complaint in frames.health.complaints():
        print(f"mutoscope: look at {path}: {complaint}.", file=sys.stderr)
