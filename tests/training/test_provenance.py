"""The record beside exported weights, and the chain it makes."""

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mutoscope import __version__
from mutoscope.errors import TrainingError
from mutoscope.training.provenance import (
    file_hashes,
    read_provenance,
    verify_chain,
    write_provenance,
)
from mutoscope.training.trainer import train
from tests.training.tiny import tiny_recipe

PARENT = tiny_recipe("parent", steps=3)
CHILD = tiny_recipe("child", steps=4, parents=(PARENT,))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained chain of two."""
    out = tmp_path_factory.mktemp("chain")
    train(CHILD, out, console=Console(file=io.StringIO()))
    return out


@pytest.fixture
def folders(chain: Path, tmp_path: Path) -> Mapping[str, Path]:
    """A copy of its exported folders, to be spoilt."""
    return {
        name: Path(shutil.copytree(chain / name / "model", tmp_path / name))
        for name in ("parent", "child")
    }


def test_says_how_the_weights_came_to_be(folders: Mapping[str, Path]) -> None:
    record = read_provenance(folders["child"])
    assert (record.recipe, record.hash, record.steps) == ("child", CHILD.hash(), 4)
    assert record.description == str(CHILD)
    assert record.parents["parent"].hash == PARENT.hash()
    assert record.parents["parent"].steps == 3
    assert record.versions["mutoscope"] == __version__
    assert record.device == "cpu"
    assert len(record.first_losses) == 4
    assert dict(record.files) == file_hashes(folders["child"])
    assert list(record.files) == ["n.safetensors"]


def test_the_chain_of_what_training_wrote_holds(folders: Mapping[str, Path]) -> None:
    verify_chain(CHILD, folders)


def test_weights_converted_later_are_recorded_anew(folders: Mapping[str, Path]) -> None:
    (folders["child"] / "n.safetensors").write_bytes(b"halved")
    write_provenance(read_provenance(folders["child"]), folders["child"])
    verify_chain(CHILD, folders)


@pytest.mark.parametrize("name", ["parent", "child"])
def test_changed_weights_break_the_chain(folders: Mapping[str, Path], name: str) -> None:
    with (folders[name] / "n.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(TrainingError, match=f"breaks at .*{name}: its files should be"):
        verify_chain(CHILD, folders)


@pytest.mark.parametrize(
    ("entry", "value", "what"),
    [
        ("recipe", "other", "recipe"),
        ("hash", "0" * 16, "recipe hash"),
        ("parents", {"parent": {"hash": PARENT.hash(), "steps": 2}}, "parents"),
        ("parents", {}, "parents"),
        ("files", {}, "files"),
    ],
)
def test_a_changed_record_breaks_the_chain(
    folders: Mapping[str, Path], entry: str, value: object, what: str
) -> None:
    path = folders["child"] / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {entry: value}))
    with pytest.raises(TrainingError, match=f"breaks at .*child: its {what} should be"):
        verify_chain(CHILD, folders)


def test_a_changed_recipe_breaks_the_chain(folders: Mapping[str, Path]) -> None:
    changed = replace(CHILD, parents=(replace(PARENT, seed=1),))
    with pytest.raises(TrainingError, match=r"breaks at .*parent: its recipe hash should be"):
        verify_chain(changed, folders)


def test_a_missing_link_is_named(folders: Mapping[str, Path]) -> None:
    with pytest.raises(TrainingError, match="'parent' is in the chain of 'child', but no folder"):
        verify_chain(CHILD, {"child": folders["child"]})


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"parents": {}, "first_losses": []}'])
def test_a_record_that_is_missing_or_damaged_is_an_error(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(TrainingError, match="does not say where the weights come from"):
        read_provenance(tmp_path)
