"""What can go wrong, as a tree; every message says what was asked, what is possible and what to do.

::

    MutoscopeError(Exception)
    ├── RequestError(ValueError)    the call or command asks for what cannot be made
    ├── ModelError(ValueError)      a folder, weight file or model name that cannot be used
    ├── DataError(ValueError)       a video, caption or data folder that cannot be used
    ├── TrainingError(RuntimeError) a run that cannot start, go on or be resumed
    └── Cancelled                   the caller's `on_step` asked a running loop to stop
"""


class MutoscopeError(Exception):
    """Root of every error that Mutoscope raises on purpose."""


class RequestError(MutoscopeError, ValueError):
    """The call or command asks for what cannot be made (a size, a frame count, an empty prompt)."""


class ModelError(MutoscopeError, ValueError):
    """A folder, weight file or model name that cannot be used."""


class DataError(MutoscopeError, ValueError):
    """A video, caption or data folder that cannot be used."""


class TrainingError(MutoscopeError, RuntimeError):
    """A training run that cannot start, go on or be resumed."""


class Cancelled(MutoscopeError):
    """Work was stopped before its end, e.g. by `on_step`; nothing finished is lost."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch has a class for it on accelerators, and on a CPU only words, as
    safetensors has where a file cannot be mapped."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
        or "Cannot allocate memory" in str(error)
    )
