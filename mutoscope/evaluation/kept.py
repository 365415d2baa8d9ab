"""Figures of clips, each kept in a file of its own as soon as it is there."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mutoscope.errors import DataError
from mutoscope.evaluation.protocol import Prompt
from mutoscope.evaluation.readings import code_hash
from mutoscope.evaluation.run import settings
from mutoscope.systems.lavie import LaVie
from mutoscope.video.atomic import whole

Row = Mapping[str, Any]
"""Figures of one clip, as JSON values."""


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

    Several processes may work on one folder, each from another end.

    Args:
        folder: See `folder_of`.
        numbers: Of the clips.
        measure: Gives the figures of one.
        on_clip: Called with clips done.

    Raises:
        DataError: A file cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for done, number in enumerate(numbers):
        file = folder / f"{number:05d}.json"
        if not file.exists():
            with whole(file) as draft:
                draft.write_text(json.dumps(measure(number)), "utf-8")
        try:
            rows.append(json.loads(file.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{file} cannot be read ({error}). Remove it to measure that clip anew."
            ) from error
        on_clip(done + 1)
    return rows
