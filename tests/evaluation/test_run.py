"""An evaluation draws every prompt, scores it, and says how it was made; cut off, it goes on."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mutoscope.errors import DataError
from mutoscope.evaluation import readings
from mutoscope.evaluation.protocol import Prompt, fingerprint, prompts
from mutoscope.evaluation.readings import Seen
from mutoscope.evaluation.run import Report, evaluate, markdown, summary
from mutoscope.metrics.oracle import Oracle, Reading
from mutoscope.systems.lavie import LaVie
from mutoscope.world.factors import MOTIONS
from mutoscope.world.scene import Scene
from tests.tiny import build_tiny_system

FILES = ("report.json", "report.md", "sheet.png")


def simple(
    system: LaVie,
    oracle: Oracle,
    out: Path,
    batch_size: int,
    *,
    seeds: Sequence[int] = range(2),
    on_clip: Callable[[str, int, int], None] = lambda kind, done, total: None,
) -> Report:
    asked = prompts(5)
    short = [Prompt("a red star drifts left", one.scene) for one in asked]
    return evaluate(
        system, oracle, short, seeds=seeds, out=out, batch_size=batch_size, on_clip=on_clip
    )


@contextmanager
def counted(*, stop_after: int = 10**9) -> Iterator[list[str]]:
    """Collects the prompts of all videos that are drawn, and interrupts after so many."""
    real, drawn = LaVie.__call__, list[str]()

    def call(self: LaVie, prompt: list[str], **settings: object) -> object:
        if len(drawn) >= stop_after:
            raise KeyboardInterrupt
        drawn.extend(prompt)
        return real(self, prompt, **settings)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LaVie, "__call__", call)
        yield drawn


def contents(out: Path) -> dict[str, object]:
    """The report's files, without the time it took."""
    found: dict[str, object] = {name: (out / name).read_bytes() for name in FILES}
    facts = json.loads((out / "report.json").read_text())
    assert facts.pop("seconds") > 0
    text = (out / "report.md").read_text()
    kept = [part for part in text.split("; ") if not part.startswith("seconds: ")]
    return found | {"report.json": facts, "report.md": kept}


@pytest.mark.slow
def test_it_reports_every_group_and_how_to_make_it_again(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path
) -> None:
    report = simple(tiny_system, oracle, tmp_path, batch_size=4)
    assert report.generated["all"].count == 10
    assert report.single["shape"].count + report.double["shape"].count == 10
    assert report.ceiling["shape"].count == 5
    ones = report.single["shape"].count
    assert {kind: share.count for kind, share in report.steady.items()} == {
        "all videos": 10 * 3,
        "one object": ones * 3,
        "true renders of one object": ones // 2 * 3,
    }
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["seeds"] == [0, 1]
    assert len(facts["prompts_hash"]) == len(fingerprint(prompts(1)))
    text = (tmp_path / "report.md").read_text()
    assert "shuffled captions (floor)" in text
    assert facts["weights"] in text
    assert f"seconds: {facts['seconds']}" in text
    assert (tmp_path / "sheet.png").stat().st_size > 1000


@pytest.mark.slow
def test_the_batch_does_not_matter(tiny_system: LaVie, oracle: Oracle, tmp_path: Path) -> None:
    assert simple(tiny_system, oracle, tmp_path / "a", 3).generated == (
        simple(tiny_system, oracle, tmp_path / "b", 10).generated
    )


@pytest.mark.slow
def test_cut_off_it_goes_on_to_the_identical_report(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path
) -> None:
    simple(tiny_system, oracle, tmp_path / "whole", 3)
    out, told = tmp_path / "cut", list[tuple[str, int, int]]()
    for stop in (3, 3):
        with pytest.raises(KeyboardInterrupt), counted(stop_after=stop):
            simple(tiny_system, oracle, out, 3)
        assert not (out / "report.json").exists()
    with counted() as drawn:
        simple(tiny_system, oracle, out, 3, on_clip=lambda *now: told.append(now))
    assert len(drawn) == 4
    assert told[:3] == [("videos", 6, 10), ("videos", 9, 10), ("videos", 10, 10)]
    assert contents(out) == contents(tmp_path / "whole")
    before = (out / "report.json").read_bytes()
    with counted() as drawn:
        simple(tiny_system, oracle, out, 3)
    assert drawn == []
    assert (out / "report.json").read_bytes() == before


@pytest.mark.long
@pytest.mark.slow
def test_half_a_batch_is_read_again(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the pictures and the readings of a batch, and while a file is written."""
    simple(tiny_system, oracle, tmp_path / "whole", 3)
    for place in ("_steady", "to_floats"):
        out = tmp_path / place
        with pytest.raises(KeyboardInterrupt), counted(stop_after=3):
            simple(tiny_system, oracle, out, 3)

        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as broken:
            broken.setattr(f"mutoscope.evaluation.run.{place}", stop)
            with pytest.raises(KeyboardInterrupt):
                simple(tiny_system, oracle, out, 3)
        simple(tiny_system, oracle, out, 3)
        assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.long
@pytest.mark.slow
def test_another_measurement_goes_on_from_nothing(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simple(tiny_system, oracle, tmp_path, 5)
    other = build_tiny_system()
    with torch.no_grad():
        other.base.conv_out.bias.add_(0.5)
    guided = build_tiny_system()
    guided.register_to_config(guidance_scale=3.0)
    suffixed = build_tiny_system()
    suffixed.register_to_config(suffixes={"base": "at night"})
    for system, seeds, batch_size, count in (
        (tiny_system, range(3), 5, 15),
        (tiny_system, range(2), 4, 10),
        (other, range(2), 5, 10),
        (guided, range(2), 5, 10),
        (suffixed, range(2), 5, 10),
    ):
        with counted() as drawn:
            simple(system, oracle, tmp_path, batch_size, seeds=seeds)
        assert len(drawn) == count
    with monkeypatch.context() as later, counted() as drawn:
        later.setattr(readings, "code_hash", lambda: "another version")
        simple(tiny_system, oracle, tmp_path, 5)
    assert len(drawn) == 10
    assert len(list(tmp_path.glob("readings-*.jsonl"))) == 7
    with counted() as drawn:
        simple(tiny_system, oracle, tmp_path, 5)
    assert drawn == []


@pytest.mark.slow
def test_files_that_cannot_be_read_are_named(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path
) -> None:
    simple(tiny_system, oracle, tmp_path / "whole", 5)
    for suffix, words in ((".jsonl", r"readings-\w+\.jsonl cannot be read"), (".npz", "pictures-")):
        out = Path(shutil.copytree(tmp_path / "whole", tmp_path / suffix))
        (path,) = out.glob(f"*{suffix}")
        path.write_text("{\n[")
        with pytest.raises(DataError, match=rf"{words}.*Remove .*readings-\w+\.jsonl to measure"):
            simple(tiny_system, oracle, out, 5)


def read(scene: Scene, motion: str) -> Seen:
    """All of a scene as it is, but for how its first thing moves."""
    kinds = ("shape", "colour", "motion")
    things = [{kind: str(getattr(thing, kind)) for kind in kinds} for thing in scene.things]
    things[0]["motion"] = motion
    return Seen(Reading({"background": scene.background}, tuple(things)))


def test_motions_of_one_object_are_counted_as_read() -> None:
    scenes = [prompt.scene for prompt in prompts(40)]
    one = next(scene for scene in scenes if len(scene.things) == 1)
    two = next(scene for scene in scenes if len(scene.things) == 2)
    first, second = MOTIONS[:2]
    moving = [
        replace(one, things=(replace(one.things[0], motion=motion, speed=speed),))
        for motion, speed in ((first, "fast"), (second, "slow"))
    ]
    asked = [Prompt("", scene) for scene in (*moving, two)]
    groups = [0, 1, 2, 0, 1, 0]
    seen = [
        read(asked[group].scene, motion)
        for group, motion in zip(
            groups, (first, second, first, second, second, second), strict=True
        )
    ]
    truth = [read(prompt.scene, prompt.scene.things[0].motion) for prompt in asked]
    report = summary(asked, groups, seen, ceiling=truth, codec=truth)
    assert report.read_as == {first: {first: 1, second: 2}, second: {second: 2}}
    assert [(m, share.value, share.count) for m, share in report.motions.items()] == [
        (first, 1 / 3, 3),
        (second, 1.0, 2),
    ]
    assert {s: (share.value, share.count) for s, share in report.speeds.items()} == {
        "slow": (1.0, 2),
        "fast": (1 / 3, 3),
    }
    lines = markdown(report, {}).splitlines()
    assert f"| fast | {report.speeds['fast']} |" in lines
    assert f"| {first} | {report.motions[first]} | {second} 2, {first} 1 |" in lines
    assert f"| {second} | {report.motions[second]} | {second} 2 |" in lines


def test_what_else_a_caption_states_is_counted_where_it_states_it() -> None:
    asked = [each for each in prompts(60) if len(each.scene.things) == 1]
    kinds = ("shape", "colour", "size", "texture", "motion", "speed")

    def seen(scene: Scene, speed: str | None = None) -> Seen:
        (thing,) = scene.things
        known = {kind: str(getattr(thing, kind)) for kind in kinds}
        if speed:
            known["speed"] = speed
        return Seen(Reading({"background": scene.background, "camera": scene.camera}, (known,)))

    truth = [seen(each.scene) for each in asked]
    drawn = [seen(each.scene, "slow") for each in asked]
    report = summary(asked, range(len(asked)), drawn, ceiling=truth, codec=truth)
    assert {share.value for share in report.details_codec.values()} == {1.0}
    assert {kind: share.value for kind, share in report.details.items() if kind != "speed"} == {
        "camera": 1.0,
        "size": 1.0,
        "texture": 1.0,
    }
    full = [each.level == "full" and each.scene.things[0].motion != "still" for each in asked]
    assert report.details["speed"].count == sum(full)
    slow = [told and e.scene.things[0].speed == "slow" for told, e in zip(full, asked, strict=True)]
    assert report.details["speed"].value == pytest.approx(sum(slow) / sum(full))
    assert report.details["camera"].count == sum(each.level == "full" for each in asked)
    assert f"| speed | {report.details['speed']} | 100.0 %" in markdown(report, {})


@pytest.mark.slow
def test_one_prompt_is_enough(tiny_system: LaVie, oracle: Oracle, tmp_path: Path) -> None:
    asked = [Prompt("a red star drifts left", prompts(1)[0].scene)]
    report = evaluate(tiny_system, oracle, asked, seeds=[0], out=tmp_path)
    assert report.double == report.floor == {}
    assert "shuffled captions" not in (tmp_path / "report.md").read_text()
