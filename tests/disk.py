"""A disk that runs full, for tests of what is left behind then."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def disk_full_after(num_bytes: int) -> Iterator[None]:
    """No file may grow longer: writing fails as on a full disk, with EFBIG for ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python takes a write cut short for a whole one where it keeps what it compiled
    # (https://github.com/python/cpython/issues/126606), so whatever is imported here for the
    # first time would be broken for every later process.
    compiled, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = compiled
