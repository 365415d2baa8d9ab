"""Interpolation is measured against the truth, and judged by the rule written down before."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.evaluation import protocol
from mutoscope.evaluation.protocol import Prompt
from mutoscope.evaluation.smooth import (
    SHUFFLED,
    SIMPLE,
    WAYS,
    Found,
    filled_in,
    kept_figures,
    main,
    markdown,
    measure,
    report_of,
    summary,
    verdict,
)
from mutoscope.metrics.between import between_keys
from mutoscope.systems.lavie import LaVie
from tests.tiny import build_tiny_system

WORDS = "a red star drifts left"


def asked(count: int) -> list[Prompt]:
    """Test scenes in words that the tiny model knows."""
    return [Prompt(WORDS, prompt.scene) for prompt in protocol.prompts(count)]


def rows(gain: float, nearer: float, count: int = 60) -> list[Found]:
    draw = np.random.default_rng(0)
    return [
        {
            "speed": 1.0 + i % 5,
            "interpolated psnr": 20.0 + gain + draw.normal(0, 0.1),
            "repeated psnr": 20.0 + i / 10 - i / 10,
            "blended psnr": 20.0,
            "interpolated trajectory": 2.0 - nearer + draw.normal(0, 0.01),
            "repeated trajectory": 3.0,
            "blended trajectory": 2.0,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("gain", "nearer", "worth"), [(1.7, 0.2, True), (1.4, 0.2, False), (1.7, -0.2, False)]
)
def test_the_rule_asks_for_both_gains(gain: float, nearer: float, worth: bool) -> None:
    report = summary(rows(gain, nearer), ["normal", "fast"] * 30)
    assert ("stage is worth" in verdict(report)) == worth
    assert ("stage is not worth" in verdict(report)) != worth


def test_slow_clips_do_not_decide() -> None:
    found = rows(2.0, 0.2, 30) + rows(-5.0, -1.0, 30)
    report = summary(found, ["fast"] * 30 + ["slow"] * 30)
    assert "stage is worth" in verdict(report)
    assert report["middle and above"]["psnr above blended"].clips == 30
    assert report["slow"]["psnr above blended"].high < 0
    assert report["all"]["psnr above blended"].clips == 60


def test_clips_without_a_figure_count_nowhere() -> None:
    found = rows(2.0, 0.2, 30)
    found += [dict.fromkeys(found[0], math.nan)] * 10
    report = summary(found, ["fast"] * 40)
    assert report["fast"]["interpolated psnr"].clips == 30
    assert report["fast"]["psnr above repeated"].value == pytest.approx(2.0, abs=0.1)


@pytest.mark.slow
def test_all_ways_start_from_the_same_key_frames(tiny_cascade: LaVie) -> None:
    prompts = asked(2)
    truth, ways = filled_in(tiny_cascade, prompts, 0, shuffled=True)
    assert set(ways) == {*WAYS, *SHUFFLED}
    assert {video.shape for video in ways.values()} == {truth.shape} == {(1, 3, 13, 16, 24)}
    at_keys = ~between_keys(13, factor=4)
    for way in SIMPLE:
        torch.testing.assert_close(ways[way][:, :, at_keys], truth[:, :, at_keys])
    # Told another clip's key frames, the network draws something else.
    assert not torch.equal(ways["other key frames"], ways["interpolated"])


@pytest.mark.slow
def test_a_way_that_gives_the_truth_is_infinitely_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thing that moves; and the figures of a clip where nothing moves are none."""
    tiny_cascade = build_tiny_system(cascade=True)
    # At its own 16 rows hardly anything moves by a pixel.
    tiny_cascade.register_to_config(height=48, width=72)
    prompts = asked(60)
    number = next(
        i for i, prompt in enumerate(prompts)
        if prompt.scene.things[0].motion in ("left", "right", "orbit")
        and prompt.scene.things[0].speed == "fast"
    )  # fmt: skip
    truth, ways = filled_in(tiny_cascade, prompts, number, shuffled=False)
    monkeypatch.setattr(
        "mutoscope.evaluation.smooth.filled_in",
        lambda *_, **__: (truth, {**ways, "interpolated": truth}),
    )
    found = measure(tiny_cascade, prompts, number)
    assert found["interpolated psnr"] == math.inf
    assert found["interpolated trajectory"] == 0
    assert 0 < found["repeated psnr"] < 60
    assert found["speed"] >= 1
    scene = prompts[number].scene
    calm = replace(
        scene,
        background="meadow",
        camera="still",
        things=tuple(replace(thing, motion="still", speed="normal") for thing in scene.things),
    )
    still = measure(tiny_cascade, [Prompt(WORDS, calm)], 0)
    assert math.isnan(still["repeated trajectory"])


@pytest.mark.slow
def test_measured_once_and_reported(tiny_cascade: LaVie, tmp_path: Path) -> None:
    prompts = asked(4)
    done: list[int] = []
    first = kept_figures(tiny_cascade, prompts, tmp_path, done.append)
    assert done == [1, 2, 3, 4]
    file = next(tmp_path.glob("clips-*/00002.json"))
    assert json.loads(file.read_text()).keys() == first[2].keys()
    assert all(f"{way} psnr" in row for row in first for way in SHUFFLED)
    file.write_text(json.dumps({**first[2], "speed": 77.0}))
    again = kept_figures(tiny_cascade, prompts, tmp_path)
    assert again[2]["speed"] == 77.0
    others = kept_figures(tiny_cascade, asked(3), tmp_path)
    assert others[2]["speed"] != 77.0
    text = report_of(tiny_cascade, first, prompts, tmp_path)
    assert (tmp_path / "smooth.md").read_text("utf-8") == text
    assert "Too few clips move" in text
    assert {p.name for p in tmp_path.glob("*.*")} == {
        "smooth.md", "smooth.json", "smooth.png", "between.png"
    }  # fmt: skip


def test_shuffled_conditions_are_in_the_table() -> None:
    found = rows(2.0, 0.2)
    for row in found:
        row |= {f"{way} {unit}": 9.0 for way in SHUFFLED for unit in ("psnr", "trajectory")}
    text = markdown(summary(found, ["fast"] * 60), {"date": "2026-01-01"})
    assert "Told other key frames, on 60 clips: 13" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "has no interpolation to measure"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], said: str,
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as failure:
        main([str(tmp_path / "out"), *(arguments or ["--model", str(tiny_folder)])])
    assert failure.value.code == 1
    assert said in capsys.readouterr().err


def test_too_few_clips_are_refused(
    cascade_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--clips", "2", "--model", str(cascade_folder)])
    assert "--clips 2 is too few" in capsys.readouterr().err
