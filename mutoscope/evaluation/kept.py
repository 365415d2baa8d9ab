"""Figures of clips, each kept in a file of its own as soon as it is there."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mutoscope.errors import DataError
from mutoscope.evaluation.protocol import Prompt
from mutoscope.evaluation.readings import code_hash
from mutoscope.evaluation.run import settings
from mutoscope.systems.lavie import LaVie
from mutoscope.video.atomic import whole

Row = Mapping[str, Any]
"""Figures of one clip, as JSON values."""
WAIT = 0.5
"""Seconds from one look for what other processes have finished to the next."""


def folder_of(out: Path, system: LaVie, asked: Sequence[Prompt], **others: object) -> Path:
    """Where figures are kept: another model, list, setting or version has another folder.

    Args:
        out: Folder of the measurement.
        system: What is measured.
        asked: Prompts with their scenes.
        others: What else the figures depend on, as JSON values.
    """
    told = {"weights": system.weights_hash(), "settings": settings(system), "code": code_hash()}
    text = json.dumps({**told, **others, "asked": repr(list(asked))}, sort_keys=True)
    return out / f"clips-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def kept(
    folder: Path,
    numbers: Sequence[int],
    measure: Callable[[int], Row],
    on_clip: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """The figures of the clips `numbers`: read where they are kept, else measured, and kept.

    Several processes may measure at once: each takes clips that no other has begun, and then waits
    for the others' last. The clip of one that was killed is taken by another.

    Args:
        folder: See `folder_of`.
        numbers: Of the clips.
        measure: Gives the figures of one.
        on_clip: Called with clips done.

    Raises:
        DataError: A file cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[int, Row] = {}
    left = list(numbers)
    while left:
        others = []
        for number in left:
            if (row := _row(folder / f"{number:05d}.json", number, measure)) is None:
                others.append(number)
                continue
            rows[number] = row
            on_clip(len(rows))
        if others == left:
            time.sleep(WAIT)
        left = others
    return [rows[number] for number in numbers]


def _row(file: Path, number: int, measure: Callable[[int], Row]) -> Row | None:
    """The figures of one clip, or None where another process is measuring them."""
    if not file.exists():
        lock = FileLock(file.with_suffix(".lock"), timeout=0)
        try:
            with lock:
                if not file.exists():  # another process was faster
                    with whole(file) as draft:
                        draft.write_text(json.dumps(measure(number)), "utf-8")
                Path(lock.lock_file).unlink(missing_ok=True)
        except Timeout:
            return None
    try:
        found: Row = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read ({error}). Remove it to measure that clip anew."
        ) from error
    return found
