"""`personalize` and `generate --lora`: from pictures to a video of a new word, and each mistake."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.lavie import LaVie
from mutoscope.video.files import probe, read_frames, write_video
from tests.cli.conftest import Result
from tests.cli.test_bad_input import assert_one_line
from tests.cli.test_narrower import crowded
from tests.tiny import build_tiny_system

Run = Callable[..., Result]
PROMPT = "a zorb drifts left"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (30, 20), (200, 90 * number, 0)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def zorb(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word taught to the tiny system."""
    from mutoscope.recipes.personal import personalize

    folder = tmp_path_factory.mktemp("zorb")
    (folder / "pictures").mkdir()
    Image.new("RGB", (30, 20), (200, 90, 0)).save(folder / "pictures" / "0.png")
    personalize(
        folder / "pictures", "zorb", folder / "zorb", model=str(tiny_folder), steps=3, notice=list
    )
    return folder / "zorb"


@pytest.mark.slow
def test_pictures_become_a_word(run: Run, tiny_folder: Path, pictures: Path) -> None:
    options = ["--name", "zorb", "--steps", "2", "--device", "cpu", "--out", "made/zorb"]
    result = run("personalize", pictures, "--model", tiny_folder, *options)
    assert result.code == 0
    assert result.out.startswith("made/zorb  (error on these pictures ")
    assert "personal: finished, 2 steps" in result.err
    assert list(Path("made").iterdir()) == [Path("made/zorb")]
    assert build_tiny_system().load_lora("made/zorb").unknown_words(PROMPT) == []


@pytest.mark.slow
def test_one_picture_is_enough_with_a_warning(run: Run, tiny_folder: Path, pictures: Path) -> None:
    (pictures / "1.png").unlink()
    options = ["--name", "zorb", "--steps", "1", "--out", "zorb"]
    result = run("personalize", pictures, "--model", tiny_folder, *options)
    assert result.code == 0
    assert result.err.startswith("mutoscope: one picture does not tell a thing from what is around")


@pytest.mark.slow
def test_a_video_of_the_word_replays_and_says_nothing_of_unknown_words(
    run: Run, tiny_folder: Path, zorb: Path
) -> None:
    made = run("generate", PROMPT, "--model", tiny_folder, "--lora", zorb, "--out", "v.webp")
    assert (made.code, made.err) == (0, "")
    assert probe(Path("v.webp")).metadata["settings"]["lora"] == str(zorb)
    expected = build_tiny_system().load_lora(zorb)(PROMPT).frames[0]
    assert np.array_equal(read_frames(Path("v.webp"))[0], expected)
    assert run("replay", "v.webp").code == 0


@pytest.mark.long
@pytest.mark.slow
def test_it_is_drawn_in_little_memory_too(
    run: Run, tiny_folder: Path, zorb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = "generate", PROMPT, "--model", tiny_folder, "--lora", zorb, "--size", "32x48", "--out"
    assert run(*ask, "v.webp").code == 0
    plenty = run(*ask, "planned.webp", "--memory", "1GB")
    assert (plenty.code, plenty.err) == (0, "")
    with monkeypatch.context() as broken:
        asked = crowded(KeyFrames, broken, most=1)
        made = run(*ask, "narrowed.webp")
    assert (made.code, max(asked), asked[-1]) == (0, 2, 1), made.err
    assert "memory ran out in base; going on from there with less at once" in made.err
    whole = read_frames(Path("v.webp"))[0].astype(int)
    for name in ("planned.webp", "narrowed.webp"):
        assert np.abs(read_frames(Path(name))[0] - whole).max() <= 1
        assert run("replay", name).code == 0
    # What is said to be the least is enough.
    (least,) = re.findall(r"use --memory (\S+) or", run(*ask, "w.webp", "--memory", "1MB").err)
    assert run(*ask, "w.webp", "--memory", least).code == 0


@pytest.mark.long
@pytest.mark.slow
def test_an_unfinished_video_of_the_word_is_finished_with_it(
    run: Run, cascade_folder: Path, tiny_cascade: LaVie, pictures: Path
) -> None:
    options = ["--name", "zorb", "--steps", "3", "--out", "zorb"]
    assert run("personalize", pictures, "--model", cascade_folder, *options).code == 0
    asked = ["generate", PROMPT, "--model", cascade_folder, "--lora", "zorb"]
    assert run(*asked, "--out", "whole.webp").code == 0
    assert run(*asked, "--stages", "base", "--out", "keys.webp").code == 0
    assert run("continue", "keys.webp", "--out", "later.webp").code == 0
    whole, later = (read_frames(Path(name))[0] for name in ("whole.webp", "later.webp"))
    assert np.array_equal(whole, later)
    assert not np.array_equal(whole, tiny_cascade(PROMPT).frames[0])


@pytest.mark.slow
def test_half_precision_takes_a_word_too(run: Run, tiny_folder: Path, zorb: Path) -> None:
    options = ["--lora", zorb, "--dtype", "bf16", "--out", "v.webp"]
    assert run("generate", PROMPT, "--model", tiny_folder, *options).code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--name": "star"}, "'star' is a word that the model knows already"),
        ({"--name": "two words"}, "cannot be taught as a word"),
        ({"--name": ""}, "cannot be taught as a word"),
        ({"--out": ".."}, ".. exists already"),
        ({"--out": "/proc/new/zorb"}, "cannot be written"),
        ({"--model": "nope"}, "one of lavie-mini"),
        ({"--steps": "0"}, "steps=0"),
        ({"--device": "abacus"}, "device 'abacus' cannot be used here"),
    ],
)
def test_mistakes(
    run: Run, tiny_folder: Path, pictures: Path, changes: dict[str, str], words: str
) -> None:
    options = {"--name": "zorb", "--out": "zorb", "--model": str(tiny_folder)} | changes
    result = run("personalize", pictures, *(part for pair in options.items() for part in pair))
    assert_one_line(result, 1, words)


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def damage(folder: Path) -> None:
    (folder / "1.png").write_bytes(b"not a picture")


def remove(folder: Path) -> None:
    empty(folder)
    folder.rmdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (empty, "holds no pictures"),
        (damage, "1.png cannot be read as a picture"),
        (remove, "is not a folder"),
    ],
)
def test_pictures_that_are_none(
    run: Run, tiny_folder: Path, pictures: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(pictures)
    options = ["--name", "zorb", "--out", "zorb", "--model", tiny_folder]
    assert_one_line(run("personalize", pictures, *options), 1, words)


@pytest.mark.slow
def test_a_lora_of_another_model(run: Run, zorb: Path) -> None:
    result = run("generate", PROMPT, "--lora", zorb)  # the shipped model
    assert_one_line(result, 1, "was learned for a model with other weights")
    assert_one_line(run("generate", PROMPT, "--lora", "none"), 1, "none holds no pytorch_lora")


@pytest.mark.slow
def test_records_from_before_there_were_loras_are_still_read(run: Run, tiny_folder: Path) -> None:
    run("generate", "a red star", "--model", tiny_folder, "--out", "v.webp")
    record = dict(probe(Path("v.webp")).metadata)
    settings = dict(record["settings"])
    assert settings.pop("lora") == ""
    write_video(
        Path("old.webp"), read_frames(Path("v.webp"))[0], 8.0, record | {"settings": settings}
    )
    assert run("replay", "old.webp").code == 0
