"""Super-resolution is measured against the truth, and judged by the rule written down before."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.evaluation import protocol
from mutoscope.evaluation.protocol import Prompt
from mutoscope.evaluation.sharp import (
    CODED,
    SHUFFLED,
    WAYS,
    Found,
    enlarged,
    kept_figures,
    main,
    markdown,
    measure,
    report_of,
    settings_of,
    summary,
    verdict,
    without_time,
)
from mutoscope.systems.lavie import LaVie

WORDS = "a red star drifts left"


def asked(count: int) -> list[Prompt]:
    """Test scenes in words that the tiny model knows."""
    return [Prompt(WORDS, prompt.scene) for prompt in protocol.prompts(count)]


def rows(*, gain: float, steeper: float, calmer: float, count: int = 60) -> list[Found]:
    draw = np.random.default_rng(0)
    return [
        {
            "enlarged psnr": 25.0 + gain + i / 10 + draw.normal(0, 0.1),
            "enlarged edges": 15.0 + steeper + draw.normal(0, 0.1),
            "enlarged flicker": 2.0 - calmer + draw.normal(0, 0.01),
            "bicubic psnr": 25.0 + i / 10,
            "bicubic edges": 15.0,
            "bicubic flicker": 0.0,
            "frame by frame psnr": 25.0,
            "frame by frame edges": 15.0,
            "frame by frame flicker": 2.0,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("gain", "steeper", "calmer", "worth"),
    [
        (2.2, 1.0, 0.1, True),
        (1.9, 1.0, 0.1, False),
        (2.2, -1.0, 0.1, False),
        (2.2, 1.0, -0.1, False),
    ],
)
def test_the_rule_asks_for_all_three(
    gain: float, steeper: float, calmer: float, worth: bool
) -> None:
    said = verdict(summary(rows(gain=gain, steeper=steeper, calmer=calmer)))
    assert ("stage is worth" in said) == worth
    assert ("stage is not worth" in said) != worth


def test_clips_without_a_still_pixel_count_nowhere() -> None:
    found = rows(gain=2.2, steeper=1.0, calmer=0.1)
    for row in found[:20]:
        row |= dict.fromkeys([name for name in row if "flicker" in name], math.nan)
    figures = summary(found)
    assert figures["flicker below frame by frame"].clips == 40
    assert figures["psnr above bicubic"].clips == 60
    for row in found:
        row["enlarged flicker"] = math.nan
    assert "no verdict" in verdict(summary(found))


def test_differences_are_paired() -> None:
    """The clips lie 6 dB apart; the gain is known to a fraction of that."""
    gain = summary(rows(gain=2.2, steeper=1, calmer=0.1))["psnr above bicubic"]
    assert gain.value == pytest.approx(2.2, abs=0.05)
    assert gain.high - gain.low < 0.1


@pytest.mark.slow
def test_all_ways_start_from_the_same_small_frames(tiny_cascade: LaVie) -> None:
    prompts = asked(2)
    truth, ways = enlarged(tiny_cascade, prompts, 0, more=True)
    assert set(ways) == {*WAYS, *CODED, *SHUFFLED}
    assert {video.shape for video in ways.values()} == {truth.shape}
    assert truth.shape[3:] == (32, 48)
    assert not torch.equal(ways["other video"], ways["enlarged"])
    assert not torch.equal(ways["coded enlarged"], ways["enlarged"])
    assert not torch.equal(ways["coded bicubic"], ways["bicubic"])
    again, fewer = enlarged(tiny_cascade, prompts, 0, more=False)
    assert set(fewer) == {*WAYS} - {"mean of 4"}
    assert torch.equal(again, truth)
    assert torch.equal(fewer["enlarged"], ways["enlarged"])


@pytest.mark.slow
def test_the_image_upscaler_draws_each_frame_by_itself(tiny_cascade: LaVie) -> None:
    draw = np.random.default_rng(0)
    small = draw.integers(0, 256, (2, 16, 24, 3), np.uint8)
    other = small.copy()
    other[1] = 255 - other[1]
    alone = without_time(tiny_cascade)

    def first(system: LaVie, frames: np.ndarray) -> np.ndarray:
        output = system.upscale(frames, WORDS, fps=8.0)
        assert isinstance(output.frames, np.ndarray)
        return np.asarray(output.frames[0][0])

    assert np.array_equal(first(alone, small), first(alone, other))
    assert not np.array_equal(first(tiny_cascade, small), first(tiny_cascade, other))


@pytest.mark.long
@pytest.mark.slow
def test_settings_are_tried_and_the_model_stays_as_it_is(tiny_cascade: LaVie) -> None:
    steps = tiny_cascade.config.upscale_steps
    found = settings_of(tiny_cascade, asked(1), 0)
    # Its network tells 100 levels apart.
    assert set(found) == {
        *(f"noise level {level}" for level in (0, 5, 20, 50)),
        *(f"{steps} steps" for steps in (2, 4, 8, 16)),
    }
    assert not torch.equal(found["noise level 0"], found["noise level 50"])
    assert not torch.equal(found["4 steps"], found["16 steps"])
    assert tiny_cascade.config.upscale_steps == steps


@pytest.mark.slow
def test_the_truth_is_infinitely_good(tiny_cascade: LaVie, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, ways = enlarged(tiny_cascade, asked(1), 0, more=False)
    monkeypatch.setattr(
        "mutoscope.evaluation.sharp.enlarged", lambda *_, **__: (truth, {**ways, "enlarged": truth})
    )
    found = measure(tiny_cascade, asked(1), 0, curve=False)
    assert found["enlarged psnr"] == math.inf
    assert math.isfinite(found["bicubic psnr"])


@pytest.mark.long
@pytest.mark.slow
def test_measured_once_and_reported(tiny_cascade: LaVie, tmp_path: Path) -> None:
    prompts = asked(4)
    done: list[int] = []
    first = kept_figures(tiny_cascade, prompts, tmp_path, done.append)
    assert done == [1, 2, 3, 4]
    assert "other prompt psnr" in first[0]
    assert "other prompt psnr" not in first[1]
    file = next(tmp_path.glob("clips-*/00002.json"))
    file.write_text(json.dumps({**first[2], "enlarged psnr": 77.0}))
    assert kept_figures(tiny_cascade, prompts, tmp_path)[2]["enlarged psnr"] == 77.0
    text = report_of(tiny_cascade, first, prompts, tmp_path)
    assert (tmp_path / "sharp.md").read_text("utf-8") == text
    assert "| noise level 20 |" in text
    assert "| autoencoder |" in text
    assert {p.name for p in tmp_path.glob("*.*")} == {"sharp.md", "sharp.json", "sharp.png"}


def test_the_table_says_what_was_measured() -> None:
    found = rows(gain=2.2, steeper=1.0, calmer=0.1)
    for row in found:
        row["mean of 4 psnr"] = row["bicubic psnr"] + 3
    text = markdown(summary(found), {"date": "2026-01-01"})
    assert "* mean of 4 above bicubic: 3 [3, 3] dB" in text
    assert text.endswith("date: 2026-01-01.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "has no super-resolution to measure"),
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
