"""A cascade on the command line: the preview, stopping early, and going on where it stopped."""

import json
import os
import re
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mutoscope.cli import unfinished
from mutoscope.cli.main import main
from mutoscope.cli.passing import Passing
from mutoscope.stages.interpolation import Interpolation
from mutoscope.stages.super_resolution import SuperResolution
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.system import System
from mutoscope.video.files import probe, read_frames
from tests.cli.conftest import Result

PROMPT = "a red star drifts left"
Run = Callable[..., Result]


def full(*_: object, **__: object) -> None:
    """A stage whose disk fails."""
    raise OSError(5, "Input/output error")


def sha(path: Path) -> object:
    return probe(path).metadata["frames_sha256"]


@pytest.mark.slow
def test_one_command_makes_the_whole_video(run: Run, cascade_folder: Path) -> None:
    result = run("generate", PROMPT, "--model", cascade_folder, "--out", "v.mp4")
    assert result.code == 0
    lines = result.out.splitlines()
    later = "the rest follows, or is made by: mutoscope continue v.preview.mp4"
    assert lines[0] == f"v.preview.mp4  (4 frames 16x24; {later})"
    assert lines[1] == f"v.preview.mp4  (13 frames 16x24; {later})"
    assert lines[2].startswith("v.mp4  (13 frames 32x48, seed 0, ")
    info = probe(Path("v.mp4"))
    assert (info.num_frames, info.fps) == (13, 32.0)
    assert [path.name for path in Path().iterdir()] == ["v.mp4"]
    assert run("replay", "v.mp4").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stages", "frames", "fps"),
    [("base", 4, 8.0), pytest.param("base,interpolate", 13, 32.0, marks=pytest.mark.long)],
)
def test_what_stopped_early_goes_on_to_the_same_frames(
    run: Run, cascade_folder: Path, stages: str, frames: int, fps: float
) -> None:
    model = ("--model", cascade_folder, "--seed", 3)
    assert run("generate", PROMPT, *model, "--out", "whole.mp4").code == 0
    assert run("generate", PROMPT, *model, "--out", "part.mp4", "--stages", stages).code == 0
    part = probe(Path("part.mp4"))
    assert (part.num_frames, part.height, part.fps) == (frames, 16, fps)
    assert run("replay", "part.mp4").code == 0
    assert run("continue", "part.mp4").code == 0
    whole = probe(Path("part-whole.mp4"))
    assert (whole.num_frames, whole.height, whole.fps) == (13, 32, 32.0)
    assert sha(Path("part-whole.mp4")) == sha(Path("whole.mp4"))
    assert run("replay", "part-whole.mp4").code == 0


@pytest.mark.slow
def test_a_stage_that_fails_loses_nothing_before_it(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ("--model", cascade_folder, "--num-frames", 7)
    assert run("generate", PROMPT, *model, "--out", "whole.mp4").code == 0

    for stage, frames in ((Interpolation, 3), (SuperResolution, 7)):
        with monkeypatch.context() as broken:
            broken.setattr(stage, "predict", full)
            result = run("generate", PROMPT, *model, "--out", "v.mp4")
        assert result.code == 1
        assert "go on with: mutoscope continue v.preview.mp4\n" in result.err
        assert "Input/output error" in result.err
        assert not Path("v.mp4").exists()
        assert read_frames(Path("v.preview.mp4"))[0].shape == (frames, 16, 24, 3)
        said = run("continue", "v.preview.mp4").out.splitlines()
        assert said[-1].startswith(f"{Path('v.mp4').absolute()}  (7 frames 32x48")
        assert sha(Path("v.mp4")) == sha(Path("whole.mp4"))
        assert sorted(path.name for path in Path().iterdir()) == ["v.mp4", "whole.mp4"]
        Path("v.mp4").unlink()


@pytest.mark.slow
def test_going_on_may_fail_too_and_loses_nothing_either(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ("--model", cascade_folder)
    assert run("generate", PROMPT, *model, "--out", "whole.mp4").code == 0
    assert run("generate", PROMPT, *model, "--out", "part.mp4", "--stages", "base").code == 0

    preview = "part-whole.preview.mp4"
    for stage, begun, left in (
        (Interpolation, "part.mp4", "part.mp4"),
        (SuperResolution, "part.mp4", Path(preview).absolute()),
        (SuperResolution, preview, preview),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(stage, "predict", full)
            result = run("continue", begun)
        assert result.code == 1
        assert f"go on with: mutoscope continue {left}\n" in result.err
    assert run("continue", preview).code == 0
    assert sha(Path("part-whole.mp4")) == sha(Path("whole.mp4"))
    assert run("continue", "part.mp4", "--out", "again.mp4").code == 0
    assert sha(Path("again.mp4")) == sha(Path("whole.mp4"))


@pytest.mark.slow
def test_stopped_while_a_preview_is_replaced_the_one_before_is_whole(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ("--model", cascade_folder)
    assert run("generate", PROMPT, *model, "--out", "whole.mp4").code == 0
    write = unfinished.write_video

    def cut_off(path: Path, frames: Passing, *told: object) -> None:
        if path.exists():
            raise KeyboardInterrupt
        write(path, frames, *told)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr(unfinished, "write_video", cut_off)
        result = run("generate", PROMPT, *model, "--out", "v.mp4")
    assert result.code == 130
    assert result.err.splitlines()[-1] == (
        "mutoscope: stopped by Ctrl-C; what is done is kept; go on with: mutoscope continue "
        "v.preview.mp4"
    )
    assert "nothing half-finished" not in result.err
    assert probe(Path("v.preview.mp4")).num_frames == 4
    assert run("continue", "v.preview.mp4").code == 0
    assert sha(Path("v.mp4")) == sha(Path("whole.mp4"))


@pytest.mark.slow
def test_killed_while_interpolating_it_goes_on(run: Run, cascade_folder: Path) -> None:
    options = ["--model", str(cascade_folder), "--out", "v.mp4", "--num-frames", "32"]
    with warnings.catch_warnings():
        # Python 3.12 and later warn of threads; those here wait for orders and hold nothing.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        try:
            main(["generate", PROMPT, *options])
        finally:
            os._exit(1)
    preview, end = Path("v.preview.mp4"), time.monotonic() + 180
    while not preview.exists() and time.monotonic() < end:
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status)
    assert preview.exists()
    assert not Path("v.mp4").exists()
    assert run("continue", preview, "--out", "w.mp4").code == 0
    assert run("generate", PROMPT, *options[:3], "whole.mp4", *options[4:]).code == 0
    assert sha(Path("w.mp4")) == sha(Path("whole.mp4"))


@pytest.mark.slow
def test_only_key_frames_with_their_latents_go_on(run: Run, cascade_folder: Path) -> None:
    model = ("--model", cascade_folder)
    assert run("generate", PROMPT, *model, "--out", "whole.mp4").code == 0
    refused = run("continue", "whole.mp4")
    assert refused.code == 1
    assert "is no unfinished video" in refused.err
    assert run("generate", PROMPT, *model, "--out", "keys.mp4", "--stages", "base").code == 0
    beside = Path("keys.base.safetensors")
    other = {name: tensor + 1 for name, tensor in load_file(beside).items()}
    save_file(other, beside)
    assert "does not belong to keys.mp4" in run("continue", "keys.mp4").err
    beside.unlink()
    assert "keys.base.safetensors is missing" in run("continue", "keys.mp4").err
    assert "cannot be run" in run("generate", PROMPT, *model, "--stages", "interpolate").err


@pytest.mark.slow
def test_a_video_that_shows_nothing_is_pointed_out(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(System, "pieces", flat(0))
    model = ("--model", cascade_folder, "--stages", "base,interpolate")
    result = run("generate", PROMPT, *model, "--out", "v.webp")
    assert result.code == 0
    first, last = (line for line in result.err.splitlines() if "all frames are black" in line)
    assert first.startswith("mutoscope: look at v.preview.mp4: ")  # before the next stage begins
    assert last.startswith("mutoscope: look at v.webp: ")


def flat(level: int) -> Callable[..., Iterator[np.ndarray]]:
    """A decoder that sees one level everywhere."""

    def pieces(self: System, latents: torch.Tensor, *told: object) -> Iterator[np.ndarray]:
        yield np.full((1, latents.shape[2], 16, 24, 3), level, np.uint8)

    return pieces


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, pytest.param(255, marks=pytest.mark.long)])
def test_a_later_stage_is_compared_with_the_key_frames_even_after_a_stop(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    ask = "generate", PROMPT, "--model", cascade_folder, "--stages"
    assert run(*ask, "base,interpolate", "--out", "v.mp4").code == 0
    shown = json.loads(run("inspect", "v.mp4").out)["made"]["goal"]
    assert "settings" in shown
    assert "look" not in shown  # hundreds of numbers
    large = np.full((1, 13, 32, 48, 3), level, np.uint8)
    monkeypatch.setattr(LaVie, "_enlarged", lambda *_: iter([large]))
    result = run("continue", "v.mp4")
    assert result.code == 0, result.err
    assert re.search(r"v-whole\.mp4: colours lie \d+ of 255 levels from", result.err)
