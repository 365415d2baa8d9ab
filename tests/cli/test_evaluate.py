"""`mutoscope evaluate` says how far it is, stops cleanly and goes on."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mutoscope.evaluation import protocol
from mutoscope.evaluation.protocol import Prompt
from mutoscope.metrics import oracle
from tests.cli.conftest import Result

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def short_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol's scenes in words that the tiny model knows."""
    real = protocol.prompts

    def short(count: int, **which: object) -> list[Prompt]:
        return [Prompt("a red star drifts left", one.scene) for one in real(count, **which)]  # type: ignore[arg-type]

    monkeypatch.setattr(protocol, "prompts", short)


@pytest.mark.slow
def test_without_a_terminal_it_says_how_far_it_is(run: Run, tiny_folder: Path) -> None:
    done = run("evaluate", "--model", tiny_folder, "--out", "e", "--prompts", 6, "--seeds", 3)
    assert done.code == 0
    lines = done.err.splitlines()
    assert lines[0] == "evaluate:   0%  videos: 0 of 18  -:--:-- left"
    assert re.fullmatch(r"evaluate:  44%  videos: 8 of 18  \d:\d\d:\d\d left", lines[1])
    assert lines[3] == "evaluate: 100%  videos: 18 of 18  0:00:00 left"
    assert "evaluate:   0%  true renders: 0 of 6  -:--:-- left" in lines
    assert done.out == Path("e/report.md").read_text() + "\n"
    facts = json.loads(Path("e/report.json").read_text())
    assert (facts["prompts"], facts["seeds"]) == (6, [0, 1, 2])


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_read(
    run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("evaluate", "--model", tiny_folder, "--prompts", 5, "--seeds", 2, "--out")
    assert run(*command, "whole").code == 0
    reads = []

    def interrupted(self: oracle.Oracle, *video: object, **settings: object) -> object:
        reads.append(video)
        if len(reads) > 2:  # a batch's clips, then its frames
            raise KeyboardInterrupt
        return real(self, *video, **settings)  # type: ignore[arg-type]

    real = oracle.Oracle.read
    with monkeypatch.context() as stopped:
        stopped.setattr(oracle.Oracle, "read", interrupted)
        result = run(*command, "cut")
    assert result.code == 130
    assert result.out == ""
    assert result.err.splitlines()[-1] == (
        "mutoscope: stopped by Ctrl-C; what was read so far is kept in cut. Run the same command "
        "again to go on."
    )
    assert not Path("cut/report.json").exists()
    went_on = run(*command, "cut")
    assert went_on.code == 0
    assert went_on.err.startswith("evaluate:  80%  videos: 8 of 10")
    reports = [json.loads(Path(out, "report.json").read_text()) for out in ("whole", "cut")]
    for report in reports:
        report.pop("seconds")
    assert reports[0] == reports[1]
    assert Path("cut/sheet.png").read_bytes() == Path("whole/sheet.png").read_bytes()


@pytest.mark.parametrize("wrong", [("--split", "train"), ("--prompts", 0), ("--seeds", 0)])
def test_what_measures_nothing_is_refused(run: Run, wrong: tuple[str, object]) -> None:
    result = run("evaluate", "--out", "e", *wrong)
    assert result.code == 1
    assert "measures nothing" in result.err
    assert not Path("e").exists()
