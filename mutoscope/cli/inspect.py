"""`mutoscope inspect`: what a video file holds and how it was made."""

import json
from pathlib import Path
from typing import Annotated

from typer import Argument


def inspect(file: Annotated[Path, Argument(help="A video, or a folder of pictures.")]) -> None:
    """Print what a video file holds and how it was made, as JSON."""
    from mutoscope.video.files import probe

    info = probe(file)
    facts = {
        "num_frames": info.num_frames,
        "height": info.height,
        "width": info.width,
        "fps": round(info.fps, 3),
        "seconds": round(info.seconds, 3),
        "made": dict(info.metadata),
    }
    print(json.dumps(facts, indent=2, ensure_ascii=False))
