"""Runs commands in this process; a test that needs a process of its own starts one itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mutoscope.cli.main import main


@dataclass
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs `mutoscope ARGUMENTS...` in an empty folder."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Result(int(stop.value.code or 0), said.out, said.err)

    return call
