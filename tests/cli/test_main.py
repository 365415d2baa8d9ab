"""What `mutoscope` says when it is told nothing, or asked who it is."""

import subprocess
import sys

import pytest

import mutoscope
from tests.cli.test_generate import Run


def test_alone_it_shows_its_commands(run: Run) -> None:
    result = run()
    assert result.code == 0
    assert result.err == ""
    for command in ("generate", "replay", "inspect", "train", "evaluate"):
        assert command in result.out


def test_version(run: Run) -> None:
    assert run("--version") == run("--version", "generate")
    assert run("--version").out == f"{mutoscope.__version__}\n"


def test_the_end_of_a_file_is_not_taken_for_ctrl_c(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """typer does; an error of the program must not pass for the user's wish."""

    def cut_off(_path: object) -> None:
        raise EOFError("marshal data too short")

    monkeypatch.setattr("mutoscope.video.files.probe", cut_off)
    with pytest.raises(EOFError, match="marshal"):
        run("inspect", "a.mp4")


def test_what_lives_to_the_end_is_not_looked_through_once_more() -> None:
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count()));"
        "from mutoscope.cli.main import main; main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frozen = int(done.stdout.split()[-1])
    assert frozen > 10_000
