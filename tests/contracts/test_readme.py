"""The README tells the truth: its tree is that of the files, and its commands and code run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mutoscope.cli.main import main
from tests.contracts.source import ROOT
from tests.contracts.tree import BLOCK, README, tree

TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.S | re.M)


def commands() -> list[str]:
    """The shell lines of the README, without those of make: they set up the environment that this
    test runs in, and `make test` runs this test."""
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    assert all(line.split()[0] in ("make", "mutoscope") for line in lines)
    return [line for line in lines if line.startswith("mutoscope")]


def test_the_tree_is_that_of_the_files() -> None:
    found = BLOCK.search(TEXT)
    assert found is not None
    assert found[2] == tree(), "run: python -m tests.contracts.tree"


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make (\w+)", TEXT, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).is_file(), link


@pytest.mark.slow
def test_the_commands_run_in_order_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # In this process: to import torch for each would take most of the time.
    for line in commands():
        _, *arguments = shlex.split(line, comments=True)
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert not stop.value.code, capsys.readouterr().err
    assert (tmp_path / "star.mp4").is_file()
    assert (tmp_path / "circle.png").is_file()


@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path) -> None:
    (code,) = blocks("python")
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "star.mp4").is_file()


def test_the_papers_table_names_code_and_tests_that_exist() -> None:
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    tests = re.findall(r"`(\w+/test_\w+\.py)` `(test_\w+)`", text)
    assert len(tests) > 50
    for folder, test in tests:
        assert f"def {test}(" in (ROOT / "tests" / folder).read_text(encoding="utf-8"), test
    paths = re.findall(r"`((?:nn|diffusion|encoding|stages|systems)/(?!test_)\w+\.py)`", text)
    assert paths
    for path in paths:
        assert (ROOT / "mutoscope" / path).is_file(), path


def test_the_architecture_fits_a_sitting() -> None:
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= 150
