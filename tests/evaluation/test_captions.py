"""The measurement of captions writes its table, and refuses in one line."""

import json
from pathlib import Path

import pytest

from mutoscope.evaluation.captions import main
from mutoscope.systems import load


@pytest.mark.slow
def test_the_command_writes_table_and_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(tmp_path), "--captions", "400"])
    text = (tmp_path / "captions.md").read_text()
    assert text in capsys.readouterr().out
    found = json.loads((tmp_path / "captions.json").read_text())
    assert found["weights"] == load().weights_hash()
    assert f"| {100 * found['right']['image']['style']:.1f} |" in text
    assert found["right"]["video"]["background"] > 0.9


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (["--captions", "9"], "--captions 9 is too few to fit a probe. Use 400 or more."),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_it_refuses_in_one_line(
    told: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), *told])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
