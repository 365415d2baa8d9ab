"""What a person sees while waiting, and what it cost."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LONGEST_TITLE = 40


class StepProgress:
    """A bar on the error stream that counts sampling steps; call it as `on_step`.

    Args:
        title: What is being made.
        stages: The stages that will run, in order; `next_stage` turns to the next.
    """

    def __init__(self, title: str, stages: Sequence[str]) -> None:
        short = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        # Without a terminal there is nobody to look at it, and a log is better off without.
        self._bar = Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._title = short.replace("[", "\\[")
        self._stages = iter(stages)
        self._task = self._bar.add_task(self._title, total=None)
        self.next_stage()

    def __enter__(self) -> "StepProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def next_stage(self) -> None:
        """A stage begins: its steps are counted anew."""
        stage = next(self._stages, "decoding")
        self._bar.reset(self._task, description=f"{self._title}: {stage}", total=None)

    def __call__(self, done: int, total: int, latents: torch.Tensor) -> None:
        """One step is done.

        Args:
            done: Steps done.
            total: Steps in all.
            latents: The latents so far; not shown.
        """
        self._bar.update(self._task, completed=done, total=total)


@dataclass
class Cost:
    """What a piece of work took.

    Attributes:
        seconds: Wall clock.
        megabytes: Peak memory: of the process so far on a CPU, of the device on a GPU.
    """

    seconds: float = 0.0
    megabytes: float = 0.0


@contextmanager
def measured(device: str) -> Iterator[Cost]:
    """Fills in a `Cost` when the block ends.

    Args:
        device: Whose memory counts.
    """
    cost = Cost()
    start = time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - start
    if device.startswith("cuda"):
        cost.megabytes = torch.cuda.max_memory_allocated() / 1e6
    else:
        cost.megabytes = _peak_of_this_process() / 1e6


def _peak_of_this_process() -> int:
    """The most memory that this process has had so far, in bytes."""
    if sys.platform == "win32":
        import psutil  # comes with accelerate

        return int(psutil.Process().memory_info().peak_wset)
    import resource  # there is none on Windows

    # Linux counts in kB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
