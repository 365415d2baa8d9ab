"""What later stages cost is a paired difference, and judged by the rule written down before."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mutoscope.errors import DataError
from mutoscope.evaluation import protocol
from mutoscope.evaluation.cascade import main, markdown, measure, summary, verdict
from mutoscope.evaluation.kept import Row, kept
from mutoscope.evaluation.protocol import Prompt
from mutoscope.metrics.accuracy import SCORED, score
from mutoscope.metrics.oracle import Oracle
from mutoscope.systems.lavie import LaVie
from mutoscope.video.frames import to_floats

WORDS = "a red star drifts left"
FACTORS = (*SCORED, "all")


def rows(asked: list[Prompt], wrong_after: int, *, factor: str = "shape") -> list[Row]:
    """Two seeds: all is right after the base, and `factor` wrong in so many videos at the end."""
    right = dict.fromkeys(FACTORS, True)
    found = [{"base": right, "interpolate": dict(right)} for _ in range(2 * len(asked))]
    single = [i for i in range(len(found)) if len(asked[i % len(asked)].scene.things) == 1]
    for i in single[:wrong_after]:
        found[i]["interpolate"][factor] = False
    return found


@pytest.mark.parametrize(("wrong", "kept_all"), [(0, True), (1, True), (8, False)])
def test_three_points_may_be_lost_and_no_more(wrong: int, kept_all: bool) -> None:
    asked = protocol.prompts(40)
    single = sum(len(prompt.scene.things) == 1 for prompt in asked)
    found = summary(rows(asked, wrong), asked, seeds=2)
    assert found.change["shape"].value == pytest.approx(-wrong / (2 * single))
    assert found.change["motion"].value == 0
    assert ("keep what the base drew" in verdict(found)) == kept_all
    assert ("they lose shape" in verdict(found)) != kept_all
    assert found.after["base"]["shape"].value == 1
    assert found.after["interpolate"]["shape"].value == pytest.approx(1 - wrong / (2 * single))
    assert found.everything["base"]["all"].count == 80
    assert "one object, after interpolate" in markdown(found, {"seeds": 2})


def test_videos_with_two_objects_do_not_decide() -> None:
    asked = protocol.prompts(40)
    found = rows(asked, 0)
    for i, row in enumerate(found):
        if len(asked[i % len(asked)].scene.things) == 2:
            row["interpolate"]["shape"] = False
    assert summary(found, asked, seeds=2).change["shape"].value == 0


@pytest.mark.slow
def test_each_stage_is_read_as_if_it_had_been_the_last(tiny_cascade: LaVie, oracle: Oracle) -> None:
    prompt = Prompt(WORDS, protocol.prompts(1)[0].scene)
    found = measure(tiny_cascade, oracle, prompt, 7)
    assert list(found) == ["base", "interpolate", "upscale"]
    for number, stage in enumerate(tiny_cascade.stages):
        made = tiny_cascade.stages[: number + 1]
        frames = tiny_cascade(WORDS, seeds=7, stages=made).frames[0]
        (seen,) = oracle.read(to_floats(frames)[None], fps=tiny_cascade.native_fps(made))
        assert found[stage] == score(prompt.scene, seen)


def test_what_is_kept_is_not_measured_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def look(number: int) -> Row:
        asked.append(number)
        return {"number": number}

    assert kept(tmp_path, [2, 0], look) == [{"number": 2}, {"number": 0}]
    assert kept(tmp_path, range(3), look) == [{"number": i} for i in range(3)]
    assert asked == [2, 0, 1]
    (tmp_path / "00001.json").write_text("{")
    with pytest.raises(DataError, match=r"00001\.json cannot be read .* Remove it"):
        kept(tmp_path, range(3), look)


def test_processes_share_the_clips(tmp_path: Path) -> None:
    """A file lock tells handles apart, so threads stand for processes here."""
    taken: list[int] = []

    def look(number: int) -> Row:
        taken.append(number)
        time.sleep(0.05)
        return {"number": number}

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: kept(tmp_path, range(8), look), range(3)))
    assert found == [[{"number": i} for i in range(8)]] * 3
    assert sorted(taken) == list(range(8))
    assert not list(tmp_path.glob("*.lock"))


def test_a_clip_whose_process_died_is_measured_by_another(tmp_path: Path) -> None:
    (tmp_path / "00000.lock").touch()
    assert kept(tmp_path, [0], lambda number: {"number": number}) == [{"number": 0}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--prompts", "1"], "--prompts 1 --seeds 2 is too little"), ([], "has no later stage")],
)
def test_what_cannot_be_measured_is_one_line(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], said: str,
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as failure:
        main([str(tmp_path), "--model", str(tiny_folder), *arguments])
    assert failure.value.code == 1
    assert said in capsys.readouterr().err
