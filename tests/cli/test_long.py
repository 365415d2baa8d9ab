"""`generate --seconds` and `--image`: what is said, and that continue and replay give the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mutoscope.systems.lavie import LaVie
from mutoscope.video.files import probe, read_frames
from mutoscope.video.frames import fingerprint
from mutoscope.video.pictures import read_picture
from tests.cli.conftest import Result

PROMPT = "a red star drifts left"
Run = Callable[..., Result]


def sha(path: str) -> object:
    return probe(Path(path)).metadata["frames_sha256"]


def save_picture(path: Path, seed: int = 0) -> None:
    draw = np.random.default_rng(seed)
    Image.fromarray(draw.integers(0, 255, (40, 33, 3), dtype=np.uint8)).save(path)


@pytest.mark.slow
def test_so_many_seconds_go_on_from_clip_to_clip_and_are_trimmed(
    run: Run, told_folder: Path, told_system: LaVie
) -> None:
    options = ("--model", told_folder, "--stages", "base", "--seconds", 1, "--fps", 9)
    result = run("generate", PROMPT, *options, "--out", "v.webp")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == (
        "1 s are 9 frames at 9 a second: 3 clips of 4 key frames, each going on from the last "
        "frame of the one before; of the frames that these span the last 1 are left out"
    )
    expected = told_system(PROMPT, stages=["base"], num_frames=9, long=True).frames[0]
    assert np.array_equal(read_frames(Path("v.webp"))[0], expected)
    assert run("replay", "v.webp").code == 0


@pytest.mark.long
@pytest.mark.slow
def test_a_moving_picture_is_replayed_and_continued(
    run: Run, told_folder: Path, told_system: LaVie, tmp_path: Path
) -> None:
    save_picture(tmp_path / "p.png")
    options = ("--model", told_folder, "--image", tmp_path / "p.png", "--seconds", 0.5)
    result = run("generate", PROMPT, *options, "--out", "v.mp4")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == (
        f"{tmp_path / 'p.png'}  (the first frame: the middle of 40x33 in the shape of, and scaled "
        "to, 16x24)"
    )
    picture = read_picture(tmp_path / "p.png")
    expected = told_system(PROMPT, num_frames=16, long=True, image=picture)
    assert sha("v.mp4") == fingerprint(expected.frames[0])
    assert run("replay", "v.mp4").code == 0
    part = run("generate", PROMPT, *options, "--out", "part.mp4", "--stages", "base", "--fps", 12)
    assert part.code == 0, part.err
    # Another picture in its place is not taken for it; to go on, none is needed.
    save_picture(tmp_path / "p.png", seed=1)
    refused = run("replay", "v.mp4")
    assert (refused.code, refused.out) == (1, "")
    assert (
        "p.png, the picture that this video begins with, is another picture by now" in refused.err
    )
    (tmp_path / "p.png").unlink()
    assert "is not there any more" in run("replay", "part.mp4").err
    assert run("continue", "part.mp4").code == 0
    assert probe(Path("part-whole.mp4")).num_frames == 21


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seconds", "1e300"], "--seconds 1e+300 cannot be made: at 32 frames a second"),
        (["--seconds", "0.01"], "for 0.0625 to 12.03 s"),
        (["--seconds", "-1"], "is no length of a video"),
        (["--seconds", "nan"], "is no length of a video"),
        (["--seconds", "1", "--num-frames", "8"], "--seconds and --num-frames both say"),
        (["--seconds", "1", "--still"], "--seconds and --still both say"),
        (["--image", "none.png"], "--image none.png is no file"),
        (["--image", __file__], "cannot be read as a picture"),
        (["--image", "PICTURE", "--still"], "that would be the picture"),
        (
            ["--image", "PICTURE", "--model", "CASCADE"],
            "the base network of this model is not told",
        ),
        (["--seconds", "1", "--model", "CASCADE"], "the base network of this model is not told"),
    ],
)
def test_mistakes_are_one_line(
    run: Run,
    told_folder: Path,
    cascade_folder: Path,
    tmp_path: Path,
    arguments: list[str],
    words: str,
) -> None:
    save_picture(tmp_path / "p.png")
    named = {"PICTURE": str(tmp_path / "p.png"), "CASCADE": str(cascade_folder)}
    given = [named.get(each, each) for each in arguments]
    model = [] if "--model" in given else ["--model", str(told_folder)]
    result = run("generate", PROMPT, *given, *model)
    assert (result.code, result.out) == (1, ""), result
    assert result.err.startswith("mutoscope: ")
    assert result.err.count("\n") == 1
    assert words in result.err
    assert list(Path().iterdir()) == []
