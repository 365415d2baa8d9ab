"""Figures as JSON lines, and progress as plain lines."""

import io
import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mutoscope.errors import TrainingError
from mutoscope.training import log
from mutoscope.training.log import Display, Figures, MetricsFile, losses, read_out, told
from tests.disk import disk_full_after

LINES = [
    {"step": 1, "loss": 0.5},
    {"step": 2, "loss": 0.25},
    {"step": 2, "evaluation": {"error": 1.0}},
    {"step": 3, "loss": 0.125},
]


def written(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def append(path: Path, records: list[dict[str, object]], *, last_step: int) -> None:
    metrics = MetricsFile(path, last_step=last_step)
    metrics.write(records)
    metrics.close()


def test_figures_come_off_the_device_in_order() -> None:
    figures = [
        Figures(
            step=step,
            tensors={"loss": torch.tensor(step / 2), "grad_norm": torch.tensor([3.0])},
            lr=0.1,
            samples=4,
            elapsed=2.0,
        )
        for step in (1, 2)
    ]
    assert read_out(figures) == [
        {"step": 1, "loss": 0.5, "grad_norm": 3.0, "lr": 0.1, "elapsed": 2.0},
        {"step": 2, "loss": 1.0, "grad_norm": 3.0, "lr": 0.1, "elapsed": 2.0},
    ]


def test_lines_after_the_last_step_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, LINES, last_step=0)
    assert written(path) == LINES
    append(path, [{"step": 3, "loss": 9.0}], last_step=2)
    assert written(path) == [*LINES[:3], {"step": 3, "loss": 9.0}]


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, LINES, last_step=0)
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    append(path, [{"step": 4, "loss": 9.0}], last_step=9)
    assert written(path) == [*LINES, {"step": 4, "loss": 9.0}]


def test_every_line_is_json_even_if_a_figure_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, [{"step": 1, "evaluation": {"a": float("nan"), "b": 1.0}}], last_step=0)
    assert path.read_text() == '{"step": 1, "evaluation": {"a": null, "b": 1.0}}\n'


def test_losses_are_those_of_the_first_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, LINES, last_step=0)
    assert losses(path, count=2) == [0.5, 0.25]
    assert losses(path, count=50) == [0.5, 0.25, 0.125]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"metrics\.jsonl cannot be written: .*checkpoints are"):
        MetricsFile(tmp_path / "missing" / "metrics.jsonl", last_step=0)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl", last_step=0)
    with (
        disk_full_after(100),
        pytest.raises(TrainingError, match=r"metrics\.jsonl cannot be written: File too large"),
    ):
        metrics.write([{"step": step, "loss": 0.5} for step in range(99)])
    with suppress(OSError):  # what the full disk refused is still in the file's buffer
        metrics.close()


def test_without_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now)
    text = io.StringIO()
    with Display("run", console=Console(file=text, width=40)) as display:
        for step in range(1, 101):
            now = float(step)
            record = {"step": step, "loss": 0.5, "samples_per_second": 12.34}
            display.show(step / 100, told(record, 100))
    lines = text.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[1] == ("run:  31%  step 31/100  loss 0.5000  12.3 samples/s  0:01:09 left")


def test_lines_can_be_a_share_of_the_work_apart_and_the_next_work_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now)
    text = io.StringIO()
    console = Console(file=text, width=40)
    with Display("work", console=console, seconds_apart=0.0, share_apart=0.25) as display:
        for number, step in enumerate((4, 5, 6, 7, 8, 0, 1, 2, 3)):
            now = 10.0 * number
            display.show(step / 8, "first" if number < 5 else "next")
    assert text.getvalue().splitlines() == [
        "work:  50%  first  -:--:-- left",
        "work:  75%  first  0:00:20 left",
        "work: 100%  first  0:00:00 left",
        "work:   0%  next  -:--:-- left",
        "work:  25%  next  0:01:00 left",
    ]


def test_on_a_terminal_progress_is_a_bar() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    with Display("run", console=console) as display:
        display.show(0.5, told({"step": 2, "loss": 0.5, "samples_per_second": 12.34}, 4))
        display.say("a word")
    assert "run: a word" in text.getvalue()
    assert "50%" in text.getvalue()
    assert "step 2/4" in text.getvalue()
