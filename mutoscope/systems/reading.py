"""Reading models with others' libraries: quietly, and with one line where it fails."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers
import transformers
from safetensors import SafetensorError

from mutoscope.errors import ModelError, is_out_of_memory


@contextmanager
def as_model_error(path: Path) -> Iterator[None]:
    """Turns every way in which reading a model can fail into one line, but for a lack of memory.

    Args:
        path: The folder or file that is read.

    Raises:
        ModelError: Instead of what the libraries raise.
    """
    try:
        yield
    except ModelError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        RuntimeError,
        SafetensorError,
    ) as error:
        if is_out_of_memory(error):
            raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{path} cannot be loaded, it is incomplete, damaged or of another kind: "
            f"{first[:200].rstrip('.')}. Save or copy it again."
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Silences the libraries' own progress bars and notes while a model loads."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
        library.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.enable_progress_bar()
            library.set_verbosity(level)
