"""What a run tells: figures as JSON lines in a file, progress on the terminal."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from torch import Tensor

from mutoscope.errors import TrainingError

SECONDS_BETWEEN_LINES = 30.0

Record = dict[str, int | float]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one step measured, still on the device it was measured on.

    Attributes:
        step: Number of the step, from 1.
        tensors: Scalars by name, among them "loss" and "grad_norm".
        lr: Step size.
        samples: How many the step saw.
        elapsed: Seconds of training up to now.
    """

    step: int
    tensors: Mapping[str, Tensor]
    lr: float
    samples: int
    elapsed: float = 0.0


def read_out(figures: list[Figures]) -> list[Record]:
    """The figures as plain numbers, fetched from the device in one transfer.

    Returns:
        One record a step: "step", the tensors' names, "lr" and "elapsed".
    """
    scalars = [value.detach().float() for entry in figures for value in entry.tensors.values()]
    values = iter(torch.stack([scalar.reshape(()) for scalar in scalars]).tolist())
    return [
        {
            "step": entry.step,
            **{name: next(values) for name in entry.tensors},
            "lr": entry.lr,
            "elapsed": entry.elapsed,
        }
        for entry in figures
    ]


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line, in the order of steps.

    Args:
        path: Of the file; made if it does not exist.
        last_step: Lines of later steps, and what a crash left of a line, are cut off: those steps
            are done again, and the file ends up as that of a run without a break.

    Raises:
        TrainingError: The file cannot be written.
    """

    def __init__(self, path: Path, *, last_step: int) -> None:
        self.path = path
        try:
            path.touch()
            os.truncate(path, length_up_to(path, last_step))
            self._file = path.open("ab")
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, records: Sequence[Mapping[str, object]]) -> None:
        """Adds lines; what is not a finite number becomes null, as JSON has no other word for it.

        Raises:
            TrainingError: The disk is full, or the file is gone.
        """
        lines = "".join(json.dumps(_finite(record)) + "\n" for record in records)
        try:
            self._file.write(lines.encode())
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def sync(self) -> None:
        """Waits until all lines are on the disk.

        Raises:
            TrainingError: The disk is full, or the file is gone.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _unwritable(self, error: OSError) -> TrainingError:
        return TrainingError(
            f"{self.path} cannot be written: {error.strerror}. The checkpoints are untouched. Make "
            "room, or make the folder writable, and run the same command again."
        )


def length_up_to(path: Path, last_step: int) -> int:
    """Bytes of a metrics file up to the last whole line of `last_step` or before."""
    length = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] > last_step:
                break
            length += len(line)
    return length


def losses(path: Path, *, count: int) -> list[float]:
    """The losses of the first `count` steps of a metrics file (fewer if it has fewer)."""
    found: list[float] = []
    with path.open("rb") as file:
        for line in file:
            record = json.loads(line)
            if len(found) == count:
                break
            if "loss" in record:
                found.append(record["loss"])
    return found


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def told(record: Record, steps: int) -> str:
    """The figures of one step of so many, in words."""
    return (
        f"step {record['step']:.0f}/{steps}  loss {record['loss']:.4f}  "
        f"{record['samples_per_second']:.1f} samples/s"
    )


class Display:
    """How far a piece of work is: a bar on a terminal, a line now and then elsewhere.

    Args:
        name: Of the work.
        console: Where to write.
        seconds_apart: Least time between two lines.
        share_apart: Least share of the work between two lines, 0 to 1.
    """

    def __init__(
        self,
        name: str,
        *,
        console: Console,
        seconds_apart: float = SECONDS_BETWEEN_LINES,
        share_apart: float = 0.0,
    ) -> None:
        self.name = name
        self.console = console
        self._apart = (seconds_apart, share_apart)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task(name, total=1.0, text="starting")
        self._began: tuple[float, float] | None = None
        self._spoke = (-math.inf, -math.inf)
        self._last = 0.0

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, progress: float, text: str) -> None:
        """Shows the share of the work that is done, what is to be said of it, and the time left.

        A share below the last one begins the next piece of work.

        Args:
            progress: The share, 0 to 1.
            text: A few words.
        """
        now = time.monotonic()
        if self._began is None or progress < self._last:
            self._began, self._spoke = (now, progress), (-math.inf, -math.inf)
        self._last = progress
        since, start = self._began
        left = (now - since) * (1 - progress) / (progress - start) if progress > start else None
        text = f"{text}  {_clock(left)} left"
        self._bar.update(self._task, completed=progress, text=text)
        seconds, share = now - self._spoke[0], progress - self._spoke[1]
        due = seconds >= self._apart[0] and share >= self._apart[1]
        if due and not self.console.is_terminal:
            self._spoke = (now, progress)
            self.say(f"{progress:4.0%}  {text}")

    def say(self, text: str) -> None:
        """Writes one line above the bar."""
        self.console.print(f"{self.name}: {text}", markup=False, highlight=False, soft_wrap=True)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
