"""The benchmark of stages draws a video on any machine and tells the stages apart."""

from pathlib import Path

import pytest
import torch

from benchmarks.stages import Clock, main


@pytest.mark.parametrize("weights", [[], ["--random-weights"]])
def test_each_stage_has_a_line(
    cascade_folder: Path, capsys: pytest.CaptureFixture[str], weights: list[str]
) -> None:
    main(["--model", str(cascade_folder), "--steps", "3", *weights])
    told, _, _, _, *rows = capsys.readouterr().out.splitlines()
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
    clock.end_of_stage()
    assert clock.totals == [2, 3]
    assert [len(spent) for spent in clock.steps] == [1, 0]


def test_one_step_has_no_time(cascade_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as failure:
        main(["--model", str(cascade_folder), "--steps", "1"])
    assert failure.value.code == 1
    assert "--steps 1 leaves no time between steps" in capsys.readouterr().err
