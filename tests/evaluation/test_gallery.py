"""The gallery shows what was drawn, all of it, beside what was read in it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mutoscope.errors import RequestError
from mutoscope.evaluation import protocol
from mutoscope.evaluation.gallery import SEEDS, Sheet, gallery, main, sheets
from mutoscope.evaluation.protocol import Prompt
from mutoscope.metrics.accuracy import SCORED, score
from mutoscope.metrics.oracle import Oracle
from mutoscope.systems.lavie import LaVie
from mutoscope.video.frames import to_floats
from mutoscope.world.factors import BACKGROUNDS, COLOURS, MOTIONS, SHAPES
from mutoscope.world.grammar import VOCABULARY
from mutoscope.world.scene import Scene, excluded_combination
from mutoscope.world.splits import held_out

WORDS = "a red star drifts left"


def few(system: LaVie, oracle: Oracle, count: int) -> tuple[Sheet, ...]:
    """Two sheets in words that the tiny model knows; of the second, backgrounds are read right."""
    scenes = [prompt.scene for prompt in protocol.prompts(count)]
    seen = [oracle.read(to_floats(drawn(system, i))[None], fps=8.0)[0] for i in range(count)]
    other = [BACKGROUNDS[BACKGROUNDS.index(s.scene["background"]) - 1] for s in seen]
    same = [s.scene["background"] for s in seen]
    return tuple(
        Sheet(name, f"Of {name}", tuple(Prompt(WORDS, s) for s in placed(scenes, backgrounds)))
        for name, backgrounds in (("wrong", other), ("right", same))
    )


def placed(scenes: list[Scene], backgrounds: list[str]) -> list[Scene]:
    pairs = zip(scenes, backgrounds, strict=True)
    return [replace(scene, background=background) for scene, background in pairs]


def drawn(system: LaVie, seed: int) -> np.ndarray:
    frames: np.ndarray = system(WORDS, seeds=seed, stages=system.stages[:1]).frames[0]
    return frames


def far(picture: np.ndarray, frame: np.ndarray) -> float:
    """How much a sheet differs from a frame where it fits best, below the margin on the left."""
    large = frame.repeat(6, axis=0).repeat(6, axis=1).astype(float)
    height, width, _ = large.shape
    column = picture[:, 12 : 12 + width].astype(float)
    return min(
        float(np.abs(column[top : top + height] - large).mean())
        for top in range(len(column) - height + 1)
    )


def test_the_prompts_are_fixed_and_cover_the_world() -> None:
    test, seeds, motions = sheets()
    assert list(test.prompts) == protocol.prompts(SEEDS)
    assert len(seeds.prompts) == SEEDS
    assert len(set(seeds.prompts)) == 1
    things = [prompt.scene.things[0] for prompt in motions.prompts]
    assert [thing.motion for thing in things] == list(MOTIONS)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {prompt.scene.background for prompt in motions.prompts} == set(BACKGROUNDS)
    for prompt in (*motions.prompts, seeds.prompts[0]):
        (thing,) = prompt.scene.things
        assert excluded_combination(prompt.scene) is None
        assert not held_out(thing.shape, thing.colour, thing.motion)
        assert set(prompt.text.replace(",", "").split()) <= set(VOCABULARY)


@pytest.mark.slow
def test_every_video_is_shown_and_read_alone(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path
) -> None:
    shown, done = few(tiny_system, oracle, 3), []
    gallery(tiny_system, oracle, tmp_path, shown=shown, model="tiny", on_clip=done.append)
    assert done == [1, 2, 3, 4, 5, 6]
    text = (tmp_path / "README.md").read_text()
    assert tiny_system.weights_hash() in text
    assert "--model tiny --stages base" in text
    for sheet, right in zip(shown, (0, 3), strict=True):
        section = text.split(f"## {sheet.title}\n")[1].split("\n## ")[0]
        rows = re.findall(
            r"^\| (\d) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", section, re.M
        )
        assert [row[:2] for row in rows] == [(str(seed), WORDS) for seed in range(3)]
        assert f"of 3 videos: background {right}, " in section
        assert sum("**" in row[2] for row in rows) == 3 - right
        with Image.open(tmp_path / f"{sheet.name}.webp") as opened:
            picture = np.asarray(opened)
        for seed, (prompt, row) in enumerate(zip(sheet.prompts, rows, strict=True)):
            frames = drawn(tiny_system, seed)
            (reading,) = oracle.read(to_floats(frames)[None], fps=8.0)
            found = score(prompt.scene, reading)
            for cell, factor in zip(row[2:], SCORED, strict=True):
                things = [thing[factor] for thing in reading.things if factor in thing]
                assert all(seen in cell for seen in things or [reading.scene[factor]])
                assert ("**" in cell) == (not found[factor])
            assert far(picture, frames[0]) < 0.5 * far(picture, drawn(tiny_system, seed + 3)[0])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 200_000


@pytest.mark.slow
def test_a_cascade_runs_as_far_as_it_is_told(
    tiny_cascade: LaVie, oracle: Oracle, tmp_path: Path
) -> None:
    shown = few(tiny_cascade, oracle, 1)[:1]
    gallery(tiny_cascade, oracle, tmp_path, shown=shown, model="tiny")
    whole = (tmp_path / "README.md").read_text()
    assert "--stages base,interpolate,upscale" in whole
    gallery(tiny_cascade, oracle, tmp_path, shown=shown, model="tiny", stages=["base"])
    assert (tmp_path / "README.md").read_text() != whole


def test_what_cannot_be_made_is_refused_before_any_work(
    tiny_system: LaVie, oracle: Oracle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = few(tiny_system, oracle, 1)
    with pytest.raises(RequestError, match="this model runs base"):
        gallery(tiny_system, oracle, tmp_path, shown=shown, model="tiny", stages=["upscale"])
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="cannot be written"):
        gallery(tiny_system, oracle, tmp_path / "file", shown=shown, model="tiny")
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "out"), "--model", "nothing"])
    assert stopped.value.code == 1
    assert "neither a folder nor a known name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
