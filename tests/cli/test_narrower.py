"""Memory runs out while a video is made: what is done is kept, the rest is made with less."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from mutoscope.stages.interpolation import Interpolation
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.stages.super_resolution import SuperResolution
from mutoscope.systems.lavie import LaVie
from mutoscope.video.files import probe
from tests.cli.conftest import Result

PROMPT = "a red star drifts left"
Run = Callable[..., Result]


def crowded(stage: type, broken: pytest.MonkeyPatch, *, most: int) -> list[int]:
    """Has a stage's network run out of memory where it is asked for more samples at once; the
    sizes it was asked for."""
    asked: list[int] = []
    real = stage.predict  # type: ignore[attr-defined]

    def predict(self: object, noisy: Tensor, *arguments: object) -> object:
        asked.append(len(noisy))
        if len(noisy) > most:
            raise MemoryError
        return real(self, noisy, *arguments)

    broken.setattr(stage, "predict", predict)
    return asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "stages"),
    [
        (KeyFrames, "base"),
        (Interpolation, "base,interpolate"),
        pytest.param(SuperResolution, "base,interpolate,upscale", marks=pytest.mark.long),
    ],
)
def test_it_goes_on_with_less_at_once_and_is_replayed(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch, stage: type, stages: str
) -> None:
    name = stages.split(",")[-1]
    ask = "generate", PROMPT, "--model", cascade_folder, "--stages", stages, "--out"
    with monkeypatch.context() as broken:
        asked = crowded(stage, broken, most=1)
        made = run(*ask, "v.mp4")
    assert made.code == 0, made.err
    assert f"memory ran out in {name}; going on from there with less at once" in made.err
    # The first step may be to have other networks out of memory, which is no help here.
    assert asked[0] == 2
    assert asked.count(2) == made.err.count("memory ran out") <= 2
    assert not Path("v.preview.mp4").exists()
    settings = probe(Path("v.mp4")).metadata["settings"]
    assert settings["memory"] == ""
    assert settings["narrowed"].startswith(f"{name} ")
    with monkeypatch.context() as broken:
        asked = crowded(stage, broken, most=1)  # as recorded, it is asked for less from the start
        assert run("replay", "v.mp4").code == 0
    assert 2 not in asked


@pytest.mark.slow
def test_where_nothing_helps_what_is_done_is_kept(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = "generate", PROMPT, "--model", cascade_folder, "--stages", "base,interpolate", "--out"
    with monkeypatch.context() as broken:
        crowded(Interpolation, broken, most=0)
        failed = run(*ask, "v.mp4")
    assert failed.code == 1
    assert "go on with: mutoscope continue v.preview.mp4\n" in failed.err
    assert "not enough memory for this: it ran out in interpolate" in failed.err
    assert run("continue", "v.preview.mp4").code == 0
    assert run(*ask, "whole.mp4").code == 0
    whole, gone_on = (probe(Path(name)).metadata for name in ("whole.mp4", "v.mp4"))
    assert gone_on["frames_sha256"] == whole["frames_sha256"]


@pytest.mark.long
@pytest.mark.slow
def test_videos_after_it_have_less_from_the_start(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = crowded(KeyFrames, monkeypatch, most=1)
    ask = "generate", PROMPT, "--model", cascade_folder, "--stages", "base", "--num-videos", 3
    made = run(*ask, "--size", "32x48", "--out", "v.mp4")
    assert made.code == 0, made.err
    assert asked.count(2) == made.err.count("memory ran out")
    first, *others = (probe(path).metadata["settings"] for path in sorted(Path().glob("v*.mp4")))
    assert len(others) == 2
    for settings in others:  # the cuts of the third are those of the second, and so is the record
        assert first["narrowed"].endswith(f"base {settings['memory']}")
        assert settings["narrowed"] == ""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere address space has no such limit")
def test_a_video_is_made_where_the_machine_has_no_more_to_give(
    run: Run, tiny_cascade: LaVie, tmp_path: Path
) -> None:
    names = "num_frames steps guidance_scale interpolation_steps upscale_steps"
    kept = {name: tiny_cascade.config[name] for name in names.split()}
    large = LaVie(**tiny_cascade.components, **kept, height=64, width=96)
    large.save_pretrained(tmp_path / "large")
    ask = "generate", PROMPT, "--model", str(tmp_path / "large"), "--stages", "base"
    told = [*ask, "--size", "128x192", "--num-frames", "4", "--out", "v.mp4"]
    where = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    # How much is too little for all at once differs a little from machine to machine.
    for megabytes in range(110, 20, -5):
        limited = [sys.executable, "-m", "tests.cli.limited", str(megabytes), *told]
        made = subprocess.run(limited, env=where, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        if "memory ran out in base" in made.stderr:
            break
    else:
        pytest.fail("memory never ran out")
    assert run("replay", "v.mp4").code == 0
