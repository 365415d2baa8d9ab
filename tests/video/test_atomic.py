"""A file appears whole or not at all, and nothing is left of what failed or was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mutoscope.video.atomic import whole

KILLED = """
import os, signal, sys
from pathlib import Path
from mutoscope.video.atomic import whole
with whole(Path(sys.argv[1])) as draft:
    if sys.argv[2]:
        draft.mkdir()
        draft = draft / "part"
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path, *, folder: bool = False) -> Path:
    """The draft that a killed process left of `path`."""
    words = [sys.executable, "-c", KILLED, str(path), "folder" if folder else ""]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    (draft,) = (each for each in path.parent.iterdir() if each.name.startswith(f".{path.stem}."))
    return draft


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "video.mp4"
    draft = killed_while_writing(path, folder=folder)
    assert draft.exists()
    assert not path.exists()
    with whole(path) as own:
        own.write_text("whole")
    assert [each.name for each in tmp_path.iterdir()] == ["video.mp4"]
    assert path.read_text() == "whole"


def test_drafts_of_living_processes_and_of_other_files_stay(tmp_path: Path) -> None:
    other = killed_while_writing(tmp_path / "other.mp4")
    living = tmp_path / f".video.{os.getppid()}.mp4"
    living.write_text("still being written")
    mine = tmp_path / ".video.notes.mp4"
    mine.write_text("someone's own")
    with whole(tmp_path / "video.mp4") as draft:
        draft.write_text("whole")
    assert {each.name for each in tmp_path.iterdir()} == {
        other.name,
        living.name,
        mine.name,
        "video.mp4",
    }


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_older_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "video.mp4"
    path.write_text("older")

    def fail() -> None:
        with whole(path) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [each.name for each in tmp_path.iterdir()] == ["video.mp4"]
    assert path.read_text() == "older"
