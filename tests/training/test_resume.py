"""Killed at any point and started again, a run ends as one that was never killed, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutoscope.training.checkpoint import digest

ROOT = Path(__file__).parents[2]
CLOCK = ("elapsed", "samples_per_second")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of one recipe: `whole`, and two whose processes were killed over and over."""
    out = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.killed", str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    killed = json.loads(done.stdout)
    # Every touch of a file is one kill: fewer than these would mean that the watch is blind.
    assert killed["events"] >= 25
    assert killed["moments"] == 10
    return out


def weights(run: Path) -> dict[str, str]:
    """SHA-256 of what was exported, and of the last checkpoint with its average and moments."""
    files = sorted(run.glob("tiny/model/*.safetensors"))
    files += sorted(run.glob("tiny/checkpoints/step_00000024/*.safetensors"))
    return {path.relative_to(run).as_posix(): digest(path) for path in files}


def figures(run: Path) -> list[dict[str, object]]:
    """The metrics file without what the clock wrote into it."""
    lines = (run / "tiny" / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in CLOCK}
        for line in lines
    ]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["events", "moments"])
def test_ends_with_the_same_weights(runs: Path, how: str) -> None:
    assert len(weights(runs / "whole")) == 4
    assert weights(runs / how) == weights(runs / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["events", "moments"])
def test_leaves_the_same_figures(runs: Path, how: str) -> None:
    assert len(figures(runs / "whole")) == 24 + 3
    assert figures(runs / how) == figures(runs / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["events", "moments"])
def test_leaves_no_half_written_files(runs: Path, how: str) -> None:
    names = {path.name for path in (runs / how).rglob("*")}
    assert not [name for name in names if name.endswith(".partial")]
    assert names == {path.name for path in (runs / "whole").rglob("*")}
