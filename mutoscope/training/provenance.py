"""Where weights come from: the record that lies beside every exported model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from mutoscope import __version__
from mutoscope.errors import TrainingError
from mutoscope.training.checkpoint import digest, sync
from mutoscope.training.recipe import Recipe

FILE = "provenance.json"


@dataclass(frozen=True)
class Ancestor:
    """A parent's recipe hash, and the steps it was trained for."""

    hash: str
    steps: int


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How the weights in a folder came to be.

    Attributes:
        recipe: Name of the recipe.
        hash: Its hash.
        description: The recipe, printed.
        steps: Steps really done.
        minutes: Minutes they took.
        device: Where they were done.
        parents: The parents by name.
        versions: Of mutoscope and torch.
        first_losses: Of the first steps, at most 50, so that a test can train these again.
        precision: In which they were done, "bf16" or "fp32"; empty in old records, of machines that
            had what the recipe asks for.
        files: SHA-256 of each safetensors file below the folder, by relative path.
    """

    recipe: str
    hash: str
    description: str
    steps: int
    minutes: float
    device: str
    parents: Mapping[str, Ancestor]
    versions: Mapping[str, str]
    first_losses: tuple[float, ...]
    precision: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def write_provenance(provenance: Provenance, folder: Path) -> Provenance:
    """Writes the record beside the weights in `folder`, whose files it hashes anew.

    Returns:
        The record as written.
    """
    whole = asdict(provenance) | {"files": file_hashes(folder)}
    (folder / FILE).write_text(json.dumps(whole, indent=1) + "\n")
    sync(folder / FILE)
    return read_provenance(folder)


def read_provenance(folder: Path) -> Provenance:
    """The record of an exported folder.

    Raises:
        TrainingError: There is none, or it cannot be read.
    """
    return read_record(folder / FILE)


def read_record(path: Path) -> Provenance:
    """A record, wherever it lies.

    Raises:
        TrainingError: There is none, or it cannot be read.
    """
    try:
        content = json.loads(path.read_text())
        parents = {name: Ancestor(**entry) for name, entry in content.pop("parents").items()}
        first = tuple(content.pop("first_losses"))
        return Provenance(**content, parents=parents, first_losses=first)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} does not say where the weights come from ({error}). Use a folder that "
            "training has exported."
        ) from error


def verify_chain(recipe: Recipe, folders: Mapping[str, Path]) -> None:
    """Checks that weights come from `recipe` and its parents', and are the files once written.

    Args:
        recipe: Of the last model of the chain.
        folders: The exported folder of each recipe in the chain, by recipe name.

    Raises:
        TrainingError: A link is missing or does not fit; the message says which.
    """
    for link in recipe.chain():
        if link.name not in folders:
            raise TrainingError(
                f"{link.name!r} is in the chain of {recipe.name!r}, but no folder was given for "
                "it. Give the folder of its exported model."
            )
        folder = folders[link.name]
        found = read_provenance(folder)
        expected_parents = {
            parent.name: Ancestor(parent.hash(), read_provenance(folders[parent.name]).steps)
            for parent in link.parents
        }
        for what, is_there, is_due in (
            ("recipe", found.recipe, link.name),
            ("recipe hash", found.hash, link.hash()),
            ("parents", dict(found.parents), expected_parents),
            ("files", dict(found.files), file_hashes(folder)),
        ):
            if is_there != is_due:
                raise TrainingError(
                    f"The chain of {recipe.name!r} breaks at {folder}: its {what} should be "
                    f"{is_due}, and the record says {is_there}. Train or export it anew."
                )


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each safetensors file below `folder`, by its path relative to it."""
    return {
        path.relative_to(folder).as_posix(): digest(path)
        for path in sorted(folder.rglob("*.safetensors"))
    }


def versions() -> dict[str, str]:
    """Versions of what trains."""
    return {"mutoscope": __version__, "torch": str(torch.__version__)}
