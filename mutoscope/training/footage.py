"""Which videos a run is made of, so that it never goes on with others."""

import hashlib
import json
from pathlib import Path

from mutoscope.errors import TrainingError

_RECORD = "footage.json"


def footage_hash(folder: Path | None) -> str:
    """Identity of the user's videos: names and sizes of all files, wherever the folder lies.

    Args:
        folder: The videos with their captions; None for the built-in world.

    Returns:
        Sixteen hex digits; empty for the world.
    """
    if folder is None:
        return ""
    files = sorted((path.name, path.stat().st_size) for path in folder.glob("*") if path.is_file())
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def keep_footage(run: Path, data: Path | None) -> None:
    """Writes down what a run is made of, or finds out whether it still is.

    Args:
        run: The folder of the run.
        data: The folder that it is given now.

    Raises:
        TrainingError: It was begun with other videos.
    """
    if (run / _RECORD).exists():
        check_footage(run, data)
        return
    draft = run / f".{_RECORD}"
    draft.write_text(json.dumps({"files": footage_hash(data)}) + "\n", "utf-8")
    draft.replace(run / _RECORD)


def check_footage(run: Path, data: Path | None) -> None:
    """Finds out whether a run was made of this folder, or of any, if it says so.

    Args:
        run: The folder of the run.
        data: The folder that it is given now.

    Raises:
        TrainingError: It was made of others.
    """
    before, now = _files(run), footage_hash(data)
    if before is not None and before != now:
        raise TrainingError(
            f"{run} was begun with {_named(before)}, and is now given {_named(now)}: no run is "
            "made of both. Give the same --data as before, or choose another --out."
        )


def of_footage(run: Path) -> bool:
    """Whether a run is made of the user's videos, as its folder says."""
    return bool(_files(run))


def _files(run: Path) -> str | None:
    """What a run wrote down; None if it is not made of videos, or is from elsewhere."""
    record = run / _RECORD
    if not record.exists():
        return None
    found: str = json.loads(record.read_text("utf-8"))["files"]
    return found


def _named(files: str) -> str:
    return f"videos {files}" if files else "the built-in world"
