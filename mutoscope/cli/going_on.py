"""`mutoscope continue`: an unfinished video on disk becomes the whole one."""

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

    from mutoscope.cli.making import open_for
    from mutoscope.cli.narrower import Work
    from mutoscope.cli.staged import make
    from mutoscope.video.files import check_target

    settings, path = goal.settings, out or goal.out
    check_target(path, goal.fps)
    system, cuts = open_for(settings)
    work = Work(system, settings, cuts, (done, latents.to(settings.device)), goal.look)
    make(work, path, goal.fps, start=file)
    count, size = settings.num_frames, f"{settings.height}x{settings.width}"
    print(f"{path}  ({count} frames {size}, seed {settings.seed})")
