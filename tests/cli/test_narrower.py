"""Memory runs out while a video is made: what is done is kept, the rest is made with less."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from mutoscope.stages.interpolation import Interpolation
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.stages.super_resolution import SuperResolution
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


@pytest.mark.parametrize(
    ("stage", "name"),
    [(KeyFrames, "base"), (Interpolation, "interpolate"), (SuperResolution, "upscale")],
)
def test_it_goes_on_with_less_at_once_and_is_replayed(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch, stage: type, name: str
) -> None:
    ask = "generate", PROMPT, "--model", cascade_folder, "--size", "64x96", "--out"
    with monkeypatch.context() as broken:
        asked = crowded(stage, broken, most=1)
        made = run(*ask, "v.mp4")
    assert made.code == 0, made.err
    assert f"memory ran out in {name}; going on from there with less at once" in made.err
    # The first step may be to have other networks out of memory, which is no help here.
    assert asked[0] == 2
    assert asked.count(2) == made.err.count("memory ran out") <= 2
    assert [path.name for path in Path().iterdir()] == ["v.mp4"]
    settings = probe(Path("v.mp4")).metadata["settings"]
    assert settings["memory"] == ""
    assert settings["narrowed"].startswith(f"{name} ")
    with monkeypatch.context() as broken:
        asked = crowded(stage, broken, most=1)  # as recorded, it is asked for less from the start
        assert run("replay", "v.mp4").code == 0
    assert 2 not in asked


def test_videos_after_it_have_less_from_the_start(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = crowded(KeyFrames, monkeypatch, most=1)
    ask = "generate", PROMPT, "--model", cascade_folder, "--stages", "base", "--num-videos", 2
    made = run(*ask, "--size", "32x48", "--out", "v.mp4")
    assert made.code == 0, made.err
    assert asked.count(2) == made.err.count("memory ran out")
    first, second = (probe(path).metadata["settings"] for path in sorted(Path().glob("v*.mp4")))
    assert first["narrowed"].endswith(f"base {second['memory']}")
    assert second["narrowed"] == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere address space has no such limit")
def test_where_the_machine_has_no_more_to_give_a_video_is_made_all_the_same(
    run: Run, cascade_folder: Path
) -> None:
    ask = "generate", PROMPT, "--model", str(cascade_folder), "--stages", "base,interpolate"
    told = *ask, "--size", "256x384", "--dtype", "fp32"
    limited = [sys.executable, "-m", "tests.cli.limited", "130", *told, "--out", "v.mp4"]
    made = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "memory ran out in " in made.stderr
    assert run("replay", "v.mp4").code == 0
