"""`mutoscope replay`: makes the frames of a file again and compares them, bit for bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit


def replay(
    file: Annotated[Path, Argument(help="A video that `mutoscope generate` wrote.")],
) -> None:
    """Make a file's frames again; exit 0 if every bit is the same, 1 if not."""
    from mutoscope.video.files import probe

    told = probe(file).metadata

    import numpy as np

    from mutoscope.cli.making import Settings, draw, open_for, record
    from mutoscope.cli.passing import Passing
    from mutoscope.cli.progress import StepProgress
    from mutoscope.video.files import each_frame

    settings = Settings.from_record(file, told)
    system, cuts = open_for(settings)
    with StepProgress(f"replaying {file.name}", settings.stages.split(",")) as progress:
        drawn = draw(
            system, settings, progress, lambda stage, latents: progress.next_stage(), cuts=cuts
        )
        frames = Passing(drawn, settings.num_frames)
        # Some formats merge frames that are alike, so there may be fewer in the file.
        stored = each_frame(file)
        apart = [
            float(np.abs(np.subtract(picture, frame, dtype=np.int16)).mean())
            for frame in frames
            if (picture := next(stored, None)) is not None
        ]
    now = record(system, settings, frames.sha256())
    if now["frames_sha256"] == told["frames_sha256"]:
        print(f"identical: {settings.num_frames} frames, sha256 {now['frames_sha256']}")
        return
    print(
        f"different: on average {np.mean(apart):.2f} of 255 levels from the pictures in {file} "
        f"(lossy files lie some 1 apart by themselves); {_what_changed(told, now)}"
    )
    raise Exit(1)


def _what_changed(told: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Names what is not as it was when the file was made."""
    names = ("weights", "mutoscope", "package", "versions", "machine")
    changed = [
        f"{name} {told.get(name)} -> {now[name]}" for name in names if told.get(name) != now[name]
    ]
    return "changed since: " + "; ".join(changed) if changed else "weights and code are the same"
