"""An evaluation draws every prompt, scores it, and says how it was made."""

import json
from pathlib import Path

from mutoscope.evaluation.protocol import Prompt, fingerprint, prompts
from mutoscope.evaluation.run import Report, evaluate
from mutoscope.metrics.oracle import Oracle
from mutoscope.systems.lavie import LaVie


def simple(system: LaVie, oracle: Oracle, out: Path, batch_size: int) -> Report:
    asked = prompts(5)
    short = [Prompt("a red star drifts left", one.scene) for one in asked]
    return evaluate(system, oracle, short, seeds=range(2), out=out, batch_size=batch_size)


def test_it_reports_every_group_and_how_to_make_it_again(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path
) -> None:
    report = simple(tiny_system, oracle, tmp_path, batch_size=4)
    assert report.generated["all"].count == 10
    assert report.single["shape"].count + report.double["shape"].count == 10
    assert report.ceiling["shape"].count == 5
    assert report.steady["shape"].count == 10 * 3
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["seeds"] == [0, 1]
    assert len(facts["prompts_hash"]) == len(fingerprint(prompts(1)))
    text = (tmp_path / "report.md").read_text()
    assert "shuffled captions (floor)" in text
    assert facts["weights"] in text
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_the_batch_does_not_matter(tiny_system: LaVie, oracle: Oracle, tmp_path: Path) -> None:
    assert simple(tiny_system, oracle, tmp_path / "a", 3).generated == (
        simple(tiny_system, oracle, tmp_path / "b", 10).generated
    )
