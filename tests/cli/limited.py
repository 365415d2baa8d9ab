"""Runs mutoscope in little address space: python -m tests.cli.limited MEGABYTES ARGUMENTS...

The limit counts from when drawing begins: what Python, libraries and the model occupy is there.
"""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from mutoscope.cli import making
from mutoscope.cli.main import main

real = making.draw


def draw(*arguments: object, **named: object) -> Iterator[object]:
    """Sets the limit at the first call."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + int(sys.argv[1]) * 10**6
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return real(*arguments, **named)


if __name__ == "__main__":
    making.draw = draw
    main(sys.argv[2:])
