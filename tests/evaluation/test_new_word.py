"""A word that was taught is looked for in videos, by a reader and a rule made beforehand."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.encoding.codec import LatentCodec
from mutoscope.evaluation import new_word, run
from mutoscope.evaluation.kept import Row
from mutoscope.evaluation.new_word import (
    KNOWN,
    PICTURES,
    asked_for,
    is_shown,
    main,
    markdown,
    motion_of_true_clips,
    reader_for,
    renamed,
    stills,
    summary,
    verdict,
    write_pictures,
)
from mutoscope.evaluation.protocol import Prompt
from mutoscope.metrics.accuracy import SCORED
from mutoscope.metrics.oracle import Oracle, load_oracle
from mutoscope.metrics.probe import Probe, fit_probe
from mutoscope.recipes.personal import personalize
from mutoscope.systems import load
from mutoscope.systems.lavie import LaVie
from mutoscope.video.pictures import read_picture
from mutoscope.world.concept import unseen_scene
from mutoscope.world.factors import UNSEEN_SHAPE, UNSEEN_TEXTURE
from mutoscope.world.grammar import TEXTURE_WORDS
from mutoscope.world.render import render
from mutoscope.world.scene import Scene


def rows(*, shown: int, motion: int, colour: int) -> list[Row]:
    """Twenty prompts: in so many the new word is shown, its motion and others' colours right."""
    found = []
    for number in range(20):
        right: dict[str, bool] = dict.fromkeys((*SCORED, "all"), True)
        without_shape = {name: right[name] for name in right if name != "shape"}
        found.append(
            {
                "untouched": right | {"new": False},
                "taught": right | {"colour": number < colour, "new": False},
                "new word": without_shape | {"motion": number < motion, "new": number < shown},
            }
        )
    return found


@pytest.mark.parametrize(
    ("shown", "motion", "colour", "said"),
    [
        (16, 19, 20, ("the word was learned", "so it holds", "unharmed")),
        (15, 20, 20, ("the word was not learned", "so it holds", "unharmed")),
        (16, 18, 20, ("the word was learned", "so it does not hold", "unharmed")),
        (16, 20, 10, ("the word was learned", "so it holds", "harmed: colour")),
    ],
)
def test_the_rule_is_kept(shown: int, motion: int, colour: int, said: tuple[str, ...]) -> None:
    found = summary(rows(shown=shown, motion=motion, colour=colour), seeds=1)
    assert found.shown.value == pytest.approx(shown / 20)
    assert found.motion.value == pytest.approx(motion / 20 - 1)
    assert found.others["colour"].value == pytest.approx(colour / 20 - 1)
    assert all(each in verdict(found) for each in said)
    assert ("unharmed" in verdict(found)) == (colour == 20)
    assert "| new word |" in markdown(found, {"seeds": 1})


@pytest.mark.slow
def test_prompts_name_the_new_word_in_place_of_the_shape_and_no_texture() -> None:
    asked = asked_for(40)
    assert len(asked) == 40
    textures = {word for words in TEXTURE_WORDS.values() for word in words}
    for prompt in asked:
        assert len(prompt.scene.things) == 1
        told = re.findall(r"\w+", renamed(prompt, "zorb"))
        assert told.count("zorb") == 1
        assert not textures & set(told)
        assert "zorb" not in prompt.text


@pytest.mark.slow
def test_ten_pictures_show_it_whole_under_their_captions(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", "zorb")
    files = sorted((tmp_path / "pictures").iterdir())
    assert len(files) == 2 * PICTURES
    for number in range(PICTURES):
        picture = read_picture(tmp_path / "pictures" / f"{number}.png")
        assert picture.shape == (1, 320, 512, 3)
        lines = (tmp_path / "pictures" / f"{number}.txt").read_text().splitlines()
        assert all("zorb" in line.split() for line in lines)
    assert not any("a orange" in file.read_text() for file in files if file.suffix == ".txt")


def test_a_video_shows_the_new_thing_if_most_of_its_frames_do() -> None:
    class Told(Oracle):
        def encode(self, video: torch.Tensor) -> torch.Tensor:
            return video[:, :1, 0, :1, :1, None]

    new, classes = KNOWN.index(UNSEEN_SHAPE), len(KNOWN)
    offset = torch.zeros(classes)
    matrix = torch.zeros(1, classes)
    matrix[0, new] = 1  # the new thing is read where the first pixel is bright
    probe = Probe(torch.zeros(1), torch.ones(1), matrix, offset)
    frames = np.zeros((16, 80, 128, 3), np.uint8)
    frames[:10] = 255  # of the eight frames that are looked at, five
    assert is_shown(Told((8, 16, 32)), probe, frames, fps=8.0)
    frames[8:10] = 0
    assert not is_shown(Told((8, 16, 32)), probe, frames, fps=8.0)


@pytest.mark.slow
def test_the_motion_of_a_true_hourglass_is_read_and_that_of_a_clip_of_noise_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system, oracle = load(), load_oracle()
    assert isinstance(system, LaVie)
    assert oracle is not None
    asked = asked_for(6)
    assert motion_of_true_clips(oracle, system, asked) >= 5 / 6

    def nothing(scene: Scene, **settings: object) -> np.ndarray:
        assert (scene.things[0].shape, scene.things[0].texture) == (UNSEEN_SHAPE, UNSEEN_TEXTURE)
        return np.random.default_rng(0).integers(0, 256, (16, 80, 128, 3), np.uint8)

    monkeypatch.setattr(run, "render", nothing)
    assert motion_of_true_clips(oracle, system, asked) < 5 / 6


@pytest.mark.long
@pytest.mark.slow
def test_the_reader_tells_it_from_other_shapes_whatever_their_texture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system, oracle = load(), load_oracle()
    assert isinstance(system, LaVie)
    assert oracle is not None
    monkeypatch.setattr(new_word, "FITTED", 240)
    monkeypatch.setattr(new_word, "CHECKED", 60)
    kept: dict[int, tuple[torch.Tensor, ...]] = {}

    def once(
        oracle: Oracle, codec: LatentCodec, first: int, number: int
    ) -> tuple[torch.Tensor, ...]:
        kept[first] = stills(oracle, codec, first, number)
        return kept[first]

    monkeypatch.setattr(new_word, "stills", once)
    probe, known = reader_for(oracle, system)
    assert known["new thing read where it is"] > 0.85
    assert known["new thing read where it is not"] < 0.15
    still = render(unseen_scene(5_000_000, split="test"), num_frames=1)
    assert is_shown(oracle, probe, np.repeat(still, 16, axis=0), fps=8.0)
    # A probe of the same sights under shuffled names reads nothing.
    clean, _, truth = kept[new_word.FIRST_FITTED]
    order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(0))
    shuffled = fit_probe(clean, truth[order])
    clean, _, truth = kept[new_word.FIRST_CHECKED]
    assert float((shuffled(clean) == truth).float().mean()) < 0.5


@pytest.mark.long
@pytest.mark.slow
def test_the_command_writes_table_and_videos(
    tiny_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main(["--pictures", str(tmp_path / "pictures")])
    lora = tmp_path / "zorb"
    personalize(tmp_path / "pictures", "zorb", lora, model=str(tiny_folder), steps=2, notice=list)
    monkeypatch.setattr(new_word, "FITTED", 12)
    monkeypatch.setattr(new_word, "CHECKED", 8)
    # The tiny model reads no longer sentences.
    star = replace(unseen_scene(0).things[0], shape="star")
    short = [
        Prompt("a red star spins", replace(each.scene, things=(star,))) for each in asked_for(2)
    ]
    monkeypatch.setattr(new_word, "asked_for", lambda number: short[:number])
    out = tmp_path / "out"
    main([str(out), "--lora", str(lora), "--model", str(tiny_folder), "--prompts", "2"])
    assert "by the rule the word was" in capsys.readouterr().out
    report = json.loads((out / "new_word.json").read_text())
    assert report["word"] == "zorb"
    assert report["prompts"] == 2
    assert set(report["right"]) == {"untouched", "taught", "new word"}
    assert (out / "new_word.png").read_bytes().startswith(b"\x89PNG")
    # What was measured is kept: the same command says the same without drawing again.
    before = (out / "new_word.md").read_text()
    main([str(out), "--lora", str(lora), "--model", str(tiny_folder), "--prompts", "2"])
    assert (out / "new_word.md").read_text() == before


def test_what_cannot_be_measured_is_one_line(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        ([str(tmp_path), "--lora", str(tmp_path)], "holds no pytorch_lora_weights.safetensors"),
        (["--pictures", str(tmp_path)], "exists already"),
    ):
        with pytest.raises(SystemExit) as failure:
            main(arguments)
        assert failure.value.code == 1
        assert said in capsys.readouterr().err
