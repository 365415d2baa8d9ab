"""Fixtures that many tests share: tiny real models, in memory and as files.

What is heavy is imported where it is needed: the process that hands out the tests needs none of it.
"""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mutoscope.systems.lavie import LaVie


def pytest_collection_finish() -> None:
    """The millions of objects of the libraries stay: looking for garbage among them again and again
    takes a twentieth of the time of the tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_system() -> "LaVie":
    """A tiny LaVie; read-only, shared by all tests."""
    from tests.tiny import build_tiny_system

    return build_tiny_system()


@pytest.fixture(scope="session")
def tiny_folder(tiny_system: "LaVie", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny LaVie as `save_pretrained` writes it; read-only, shared by all tests."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_system.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_cascade() -> "LaVie":
    """A tiny LaVie of all three stages; read-only, shared by all tests."""
    from tests.tiny import build_tiny_system

    return build_tiny_system(cascade=True)


@pytest.fixture(scope="session")
def cascade_folder(tiny_cascade: "LaVie", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny cascade as `save_pretrained` writes it; read-only, shared by all tests."""
    folder = tmp_path_factory.mktemp("models") / "cascade"
    tiny_cascade.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def told_system(tiny_cascade: "LaVie") -> "LaVie":
    """A tiny cascade that can go on from a frame; read-only, shared by all tests."""
    from tests.tiny import build_told_system

    return build_told_system(tiny_cascade)


@pytest.fixture(scope="session")
def told_folder(told_system: "LaVie", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That cascade as `save_pretrained` writes it; read-only, shared by all tests."""
    folder = tmp_path_factory.mktemp("models") / "told"
    told_system.save_pretrained(folder)
    return folder


@pytest.fixture
def copy_of_tiny(tiny_folder: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a private copy of the tiny LaVie's folder, to be damaged."""

    def copy() -> Path:
        return Path(shutil.copytree(tiny_folder, tmp_path / "model"))

    return copy


@pytest.fixture(scope="session")
def published_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LaVie's three files and the folders `sd` and `x4`, small; read-only, shared by all tests."""
    from tests.systems import published

    folder = tmp_path_factory.mktemp("published")
    published.write_files(folder)
    for name in ("sd", "x4"):
        published.write_folder(folder / name, name)
    return folder


@pytest.fixture(scope="session")
def converted_folder(published_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `convert lavie` makes of them; read-only, shared by all tests."""
    from mutoscope.systems.convert import convert_lavie

    out = tmp_path_factory.mktemp("converted") / "lavie"
    convert_lavie(
        out,
        base=published_files / "base.pt",
        interpolation=published_files / "interpolation.pt",
        upscale=published_files / "super_resolution.pt",
        sd=published_files / "sd",
        x4=published_files / "x4",
    )
    return out
