"""A process that trains in forked copies of itself, kills them, and starts them again.

Run by `test_resume.py`: torch is imported once, and every copy is a real process that dies of a
real SIGKILL. Prints how many were.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed.tensor  # what a first step would import, so that no copy has to
from rich.console import Console

from mutoscope.training.trainer import train
from tests.training.tiny import network, tiny_recipe

RECIPE = tiny_recipe(steps=24, accumulate=2, save_every=4, evaluate_every=9)
KILLS_AT_RANDOM = 10


def copy(out: Path, before: Callable[[], None], after: Callable[[int], None]) -> bool:
    """Trains in one forked copy; whether it came to the end of the run."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            before()
            train(RECIPE, out, console=Console(file=sys.stderr))
            code = 0
        finally:
            os._exit(code)
    after(process)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0, "the copy failed by itself"
    return True


def nothing(*_: object) -> None:
    """Lets the copy live."""


def at_file_event(number: int, out: Path) -> Callable[[], None]:
    """Kills the process itself just before it touches a file below `out` the `number`-th time."""
    left = number

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        touches = event == "open" or event.startswith(("os.", "shutil."))
        if touches and any(str(argument).startswith(str(out)) for argument in arguments[:2]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(watch)


def within(seconds: float, draw: random.Random) -> Callable[[int], None]:
    """Kills another process at a random moment, wherever it may be then."""

    def kill(process: int) -> None:
        time.sleep(draw.uniform(0.1, 0.9) * seconds)
        os.kill(process, signal.SIGKILL)

    return kill


def main() -> None:
    """`killed.py OUT`: trains in OUT/whole, OUT/events and OUT/moments."""
    out = Path(sys.argv[1])
    RECIPE.optimizer.build(dict(network().named_parameters()))  # imports half of torch
    began = time.monotonic()
    copy(out / "whole", nothing, nothing)
    seconds = time.monotonic() - began

    killed = {"events": 0, "moments": 0}
    while not copy(out / "events", at_file_event(killed["events"] + 1, out), nothing):
        killed["events"] += 1
    draw = random.Random(0)
    while killed["moments"] < KILLS_AT_RANDOM:
        if copy(out / "moments", nothing, within(seconds, draw)):
            seconds /= 2  # it was faster than the first: begin again, and kill it sooner
            shutil.rmtree(out / "moments")
        else:
            killed["moments"] += 1
    copy(out / "moments", nothing, nothing)
    print(json.dumps(killed))


if __name__ == "__main__":
    main()
