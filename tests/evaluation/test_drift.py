"""Long videos are compared with their own first clip, and judged by a rule written down before."""

import json
from pathlib import Path

import numpy as np
import pytest

from mutoscope.evaluation import protocol
from mutoscope.evaluation.drift import (
    CLIPS,
    FACTORS,
    LOOKS,
    drawn,
    look,
    main,
    markdown,
    measure,
    summary,
    verdict,
)
from mutoscope.evaluation.kept import Row
from mutoscope.evaluation.protocol import Prompt
from mutoscope.metrics.accuracy import score
from mutoscope.metrics.oracle import Oracle
from mutoscope.systems.lavie import LaVie
from mutoscope.video.frames import to_floats


def rows(*, lost_from: int, sharpness: float = 1.0, shift: float = 0.0) -> list[Row]:
    """Three seeds of eight prompts: half of the videos are read wrong from a clip on."""
    found = []
    for number in range(24):
        right = [float(clip < lost_from or number % 2) for clip in range(CLIPS)]
        wave = 0.01 * (number % 3 - 1)
        found.append(
            {
                **dict.fromkeys((*FACTORS, "all"), right),
                "shift": [0.0, *[shift + wave] * (CLIPS - 1)],
                "sharpness": [1.0, *[sharpness + wave] * (CLIPS - 1)],
                "seam": [1.0 + wave] * CLIPS,
            }
        )
    return found


def test_what_is_lost_after_the_fourth_clip_shows_at_five_continuations_and_not_at_three() -> None:
    found = summary(rows(lost_from=4), seeds=3)
    assert [round(each.value, 2) for each in found.right["all"]] == [1, 1, 1, 1, 0.5, 0.5]
    assert found.lost[3].value == 0
    assert found.lost[5].value == pytest.approx(-0.5)
    told = verdict(found)
    assert "After 3 continuations +0.0 points [+0.0, +0.0]" in told
    assert told.count("the video has not drifted") == 1
    assert told.count("the video has drifted") == 1
    assert told.count("its look has not.") == 2
    assert "| 5 | 50.0 % [" in markdown(found, {"seeds": 3})


@pytest.mark.parametrize(("sharpness", "shift"), [(0.8, 0.0), (1.3, 0.0), (1.0, 13.0)])
def test_a_look_that_is_worn_is_said(sharpness: float, shift: float) -> None:
    found = summary(rows(lost_from=CLIPS, sharpness=sharpness, shift=shift), seeds=3)
    assert verdict(found).count("its look has.") == 2
    assert verdict(found).count("the video has not drifted") == 2


def test_the_look_of_clips_is_measured_against_the_first() -> None:
    stripes = np.zeros((4, 6, 8, 3), np.uint8)
    stripes[:, :, ::2] = 100
    moving = stripes.copy()
    moving[1::2] += 10  # all pixels change by 10 from frame to frame
    faint = np.full_like(stripes, 20)
    faint[:, :, ::2] = 70
    found = look([moving, faint, faint + np.uint8(30)])
    assert found["shift"] == pytest.approx([0, 10, 20])
    assert found["sharpness"] == pytest.approx([1, 0.5, 0.5])
    assert found["seam"] == [1, 0, 0]
    jump = moving.copy()
    jump[1:] += 30
    assert look([moving, jump])["seam"][1] == pytest.approx(4)


@pytest.mark.slow
def test_each_clip_is_read_by_itself(told_system: LaVie, oracle: Oracle) -> None:
    prompt = Prompt("a red star drifts left", protocol.prompts(1)[0].scene)
    found = measure(told_system, oracle, prompt, 3)
    assert set(found) == {*FACTORS, "all", *LOOKS}
    assert all(len(values) == CLIPS for values in found.values())
    frames, native = drawn(told_system, prompt, 3), told_system.config.num_frames
    assert len(frames) == CLIPS * (native - 1) + 1
    last = to_floats(frames[-native:])[None]
    (reading,) = oracle.read(last, fps=float(told_system.config.fps))
    right = score(prompt.scene, reading, FACTORS)
    assert [found[factor][-1] for factor in right] == list(map(float, right.values()))


@pytest.mark.slow
def test_the_command_writes_table_plot_and_videos(
    told_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The tiny model reads no longer sentences.
    short = [Prompt("a red star drifts left", each.scene) for each in protocol.prompts(12)]
    monkeypatch.setattr("mutoscope.evaluation.drift.prompts", lambda count: short[:count])
    main([str(tmp_path), "--model", str(told_folder), "--prompts", "2", "--seeds", "1"])
    assert "After 5 continuations" in capsys.readouterr().out
    report = json.loads((tmp_path / "drift.json").read_text())
    assert len(report["right"]["all"]) == CLIPS
    for name in ("drift.png", "videos.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompts", "1"], "--prompts 1 --seeds 3 is too little"),
        ([], "cannot go on from a frame"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], said: str,
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as failure:
        main([str(tmp_path), "--model", str(tiny_folder), *arguments])
    assert failure.value.code == 1
    assert said in capsys.readouterr().err
