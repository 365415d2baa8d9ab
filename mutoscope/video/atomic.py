"""Files that appear whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from mutoscope.errors import RequestError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a hidden name beside `path` to write to; moves it into place if the block succeeds.

    What was written is removed on any exception, Ctrl-C included, so a reader never meets half a
    file and an older file of that name survives a failure. A process that was killed can remove
    nothing: what it left is removed by the next that writes to the same place. Works for a folder
    as for a file.

    Args:
        path: Where the finished file shall lie; its folder is made if it does not exist.

    Raises:
        RequestError: The place cannot be written, or the disk is full.
    """
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        _make_folder(path.parent)
        _remove_what_the_dead_left(path)
        yield draft
        if path.is_dir():
            raise IsADirectoryError(None, "a folder of that name is in the way")
        os.replace(draft, path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        _remove(draft)  # if it was not moved


def check_place(path: Path) -> None:
    """Finds out whether `path` can be written, before the work that it is for.

    Args:
        path: Where a file or folder shall lie; its folder is made if it does not exist.

    Raises:
        RequestError: It cannot be.
    """
    try:
        _make_folder(path.parent)
        if path.is_dir():
            raise IsADirectoryError(None, "a folder of that name is in the way")
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _refusal(path, error) from error


def _remove(draft: Path) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    with suppress(OSError):  # it is a folder, or is not there
        draft.unlink()


def _remove_what_the_dead_left(path: Path) -> None:
    """Removes drafts of `path` whose processes are no more."""
    if os.name != "posix":  # elsewhere a process cannot be asked for without ending it
        return
    name = re.compile(rf"\.{re.escape(path.stem)}\.(\d+){re.escape(path.suffix)}")
    for draft in path.parent.iterdir():
        if (found := name.fullmatch(draft.name)) and not _is_alive(int(found[1])):
            _remove(draft)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(None, f"{folder} is a file, not a folder") from error


def _refusal(path: Path, error: OSError) -> RequestError:
    reason = error.strerror or str(error)
    return RequestError(f"{path} cannot be written: {reason}. Choose another place or make room.")
