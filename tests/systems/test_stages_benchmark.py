"""The benchmark of stages draws a video on any machine and tells the stages apart."""

import mmap
import re
from pathlib import Path

import pytest
import torch

from benchmarks.stages import Clock, main


@pytest.mark.slow
@pytest.mark.parametrize(
    "weights", [[], pytest.param(["--random-weights"], marks=pytest.mark.long)]
)
def test_each_stage_has_a_line(
    cascade_folder: Path, capsys: pytest.CaptureFixture[str], weights: list[str]
) -> None:
    main(["--model", str(cascade_folder), "--steps", "3", *weights])
    told, _, _, _, *rows, _, most = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"At most \d+ MB, decoding included; predicted \d+\.", most)
    assert "all latents finite: True" in told
    assert [row.split(" | ")[0] for row in rows] == ["| base", "| interpolate", "| upscale"]
    steps = [int(row.split(" | ")[1]) for row in rows]
    # One window of key frames, and as many of large frames as they take.
    assert steps[0] == 3
    assert steps[2] > 3
    assert all(float(row.split(" | ")[2]) > 0 for row in rows)


def test_the_clock_sees_what_is_not_finite() -> None:
    clock = Clock("cpu")
    clock(1, 2, torch.zeros(1, 4, 1, 2, 2))
    assert clock.finite
    clock(2, 2, torch.full((1, 4, 1, 2, 2), torch.nan))
    assert not clock.finite
    clock(1, 3, torch.zeros(1, 4, 1, 2, 2))
    clock.end()
    assert clock.totals == [2, 3]
    assert [len(spent) for spent in clock.steps] == [1, 0]
    assert [len(found) for found in clock.peaks] == [2, 1, 1]


def test_what_comes_after_the_last_step_is_no_step_of_it() -> None:
    clock = Clock("cpu")
    for done in (1, 2, 3):
        _takes(40_000_000)
        clock(done, 3, torch.zeros(1))
    _takes(240_000_000)
    clock.end()
    (steps, (after,)) = clock.peaks
    assert all(35e6 < step < 60e6 for step in steps)
    assert after > 220e6


def _takes(size: int) -> None:
    """Takes so many bytes from the system and gives them back.

    A tensor may lie where one of an earlier test was freed, and then nothing is taken.
    """
    with mmap.mmap(-1, size) as taken:
        for page in range(0, size, mmap.PAGESIZE):
            taken[page] = 1


def test_one_step_has_no_time(cascade_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as failure:
        main(["--model", str(cascade_folder), "--steps", "1"])
    assert failure.value.code == 1
    assert "--steps 1 leaves no time between steps" in capsys.readouterr().err
