"""`mutoscope inspect`: what a video file holds and how it was made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from typer import Argument


def inspect(file: Annotated[Path, Argument(help="A video, or a folder of pictures.")]) -> None:
    """Print what a video file holds and how it was made, as JSON."""
    from mutoscope.video.files import probe

    info = probe(file)
    made = dict(info.metadata)
    if isinstance(goal := made.get("goal"), Mapping):  # of what is unfinished
        # Some numbers for every row and column, which tell a reader nothing.
        made["goal"] = {name: value for name, value in goal.items() if name != "look"}
    facts = {
        "num_frames": info.num_frames,
        "height": info.height,
        "width": info.width,
        "fps": round(info.fps, 3),
        "seconds": round(info.seconds, 3),
        "made": made,
    }
    print(json.dumps(facts, indent=2, ensure_ascii=False))
