"""Files that appear whole or not at all."""

import os
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
    file and an older file of that name survives a failure. Works for a folder as for a file.

    Args:
        path: Where the finished file shall lie; its folder is made if it does not exist.

    Raises:
        RequestError: The place cannot be written, or the disk is full.
    """
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        _make_folder(path.parent)
        yield draft
        if path.is_dir():
            raise IsADirectoryError(None, "a folder of that name is in the way")
        os.replace(draft, path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):  # it has been moved, or never was
            draft.unlink()


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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(None, f"{folder} is a file, not a folder") from error


def _refusal(path: Path, error: OSError) -> RequestError:
    reason = error.strerror or str(error)
    return RequestError(f"{path} cannot be written: {reason}. Choose another place or make room.")
