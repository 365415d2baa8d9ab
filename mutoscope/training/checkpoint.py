"""Checkpoints: all that a run needs to go on as if it had never stopped."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mutoscope.errors import TrainingError

FORMAT = 1
KEPT = 2
STATE = "state.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run between two steps.

    Attributes:
        step: Steps done.
        batch: Number of the next batch: the position in the data.
        elapsed: Seconds of training so far, over all its processes.
        recipe_hash: Of the recipe that is trained.
        generator: State of the generator of noise (uint8).
        weights: Trained parameters and buffers, by name.
        average: The averaged parameters, by name.
        optimizer: The optimizer's tensors, as `parameter name/state name`.
    """

    step: int
    batch: int
    elapsed: float
    recipe_hash: str
    generator: Tensor
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def save(checkpoint: Checkpoint, folder: Path) -> Path:
    """Writes the checkpoint below `folder`, whole or not at all, and keeps the newest two.

    Args:
        checkpoint: What to write.
        folder: Of all checkpoints of the run; made if it does not exist.

    Returns:
        The checkpoint's own folder.

    Raises:
        TrainingError: The folder cannot be written or the disk is full; older checkpoints are
            untouched.
    """
    place = folder / f"step_{checkpoint.step:08d}"
    draft = folder / f".{place.name}.partial"
    try:
        _clear_drafts(folder)
        draft.mkdir(parents=True)
        _write(checkpoint, draft)
        os.rename(draft, place)
        sync(folder)
        _prune(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise TrainingError(
            f"The checkpoint of step {checkpoint.step} cannot be written in {folder}: "
            f"{getattr(error, 'strerror', None) or error}. Older checkpoints are untouched. "
            "Make room, or make the folder writable, and run the same command again."
        ) from error
    return place


def load_newest(
    folder: Path, *, recipe_hash: str, notice: Callable[[str], None]
) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where none was ever written.

    Args:
        folder: Of all checkpoints of the run.
        recipe_hash: That the checkpoint must carry.
        notice: Told, in a sentence, of each newer checkpoint that had to be passed over.

    Raises:
        TrainingError: There are checkpoints but none can be read, or they are of another recipe
            or format.
    """
    _clear_drafts(folder)
    places = _places(folder)
    damaged = []
    for place in reversed(places):
        try:
            checkpoint = _read(place)
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            notice(f"{place} is damaged ({error}); the one before it is used.")
            damaged.append(place)
            continue
        if checkpoint.recipe_hash != recipe_hash:
            raise TrainingError(
                f"{place} belongs to recipe {checkpoint.recipe_hash}, not to {recipe_hash}: it "
                "cannot be gone on with. Choose another --out, or delete that folder."
            )
        for broken in damaged:  # or they would count as the newest two
            _discard(broken)
        _prune(folder)  # a run killed between writing and this left one more
        return checkpoint
    if places:
        raise TrainingError(
            f"No checkpoint in {folder} can be read: all {len(places)} are damaged. Delete the "
            "folder to begin the run again."
        )
    return None


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(checkpoint: Checkpoint, draft: Path) -> None:
    digests = {}
    tensors = {
        "weights": checkpoint.weights,
        "ema": checkpoint.average,
        "optimizer": checkpoint.optimizer,
    }
    for name, content in tensors.items():
        path = draft / f"{name}.safetensors"
        save_file({key: value.detach().contiguous() for key, value in content.items()}, path)
        sync(path)
        digests[path.name] = digest(path)
    state = {
        "format": FORMAT,
        "recipe": checkpoint.recipe_hash,
        "step": checkpoint.step,
        "batch": checkpoint.batch,
        "elapsed": checkpoint.elapsed,
        "generator": base64.b64encode(bytes(checkpoint.generator.tolist())).decode(),
        "sha256": digests,
    }
    (draft / STATE).write_text(json.dumps(state, indent=1))
    sync(draft / STATE)
    sync(draft)


def _read(place: Path) -> Checkpoint:
    state = json.loads((place / STATE).read_text())
    if state["format"] != FORMAT:
        raise TrainingError(
            f"{place} has format {state['format']}; this version reads format {FORMAT}. Go on "
            "with the version that wrote it, or delete the folder."
        )
    for name, expected in state["sha256"].items():
        if digest(place / name) != expected:
            raise ValueError(f"{name} is not what was written")
    return Checkpoint(
        step=state["step"],
        batch=state["batch"],
        elapsed=state["elapsed"],
        recipe_hash=state["recipe"],
        generator=torch.tensor(list(base64.b64decode(state["generator"])), dtype=torch.uint8),
        weights=load_file(place / "weights.safetensors"),
        average=load_file(place / "ema.safetensors"),
        optimizer=load_file(place / "optimizer.safetensors"),
    )


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _places(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*"))


def _prune(folder: Path) -> None:
    for old in _places(folder)[:-KEPT]:
        _discard(old)


def _discard(place: Path) -> None:
    """Removes a checkpoint so that one cut short leaves no half of it under its name."""
    if place.exists():
        draft = place.with_name(f".{place.name}.partial")
        shutil.rmtree(draft, ignore_errors=True)
        os.rename(place, draft)
        shutil.rmtree(draft)


def _clear_drafts(folder: Path) -> None:
    for draft in folder.glob(".step_*.partial"):
        shutil.rmtree(draft, ignore_errors=True)
