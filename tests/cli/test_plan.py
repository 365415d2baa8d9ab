"""`plan`, and `--memory` of the commands that draw: what is said, and that it has an effect."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mutoscope.video.files import probe
from tests.cli.conftest import Result

# With all its networks in memory the cascade takes 513 MB, program included.
TIGHT = "512MB"
PROMPT = "a red star drifts left"
Run = Callable[..., Result]


def total(result: Result) -> list[str]:
    """Operations, memory and seconds of the last line but one."""
    assert result.code == 0, result.err
    return result.out.splitlines()[-2].split()[2:]


def least(refused: Result) -> str:
    """The figure that the refusal of another says to be enough."""
    assert refused.code == 1
    found = re.search(
        r"takes at least 5\d\d MB, however .* Use --memory (0\.5\d\dGB) or more", refused.err
    )
    assert found is not None, refused.err
    return found[1]


@pytest.mark.slow
def test_a_plan_says_every_part_and_the_whole(run: Run, cascade_folder: Path) -> None:
    lines = run("plan", "--model", cascade_folder, "--size", "64x96").out.splitlines()
    assert lines[0].endswith(": 13 frames of 64x96, by way of 32x48, base,interpolate,upscale")
    names = [re.split(r"\s{2,}", line)[0] for line in lines[2:-1]]
    assert names == [
        "text", "base", "interpolate", "decode", "upscale", "decode enlarged", "in all",
    ]  # fmt: skip
    assert re.search(r"float32, all in memory; cpu multiplies matrices at .* TFLOP/s", lines[-1])


@pytest.mark.slow
def test_each_option_has_an_effect(run: Run, cascade_folder: Path) -> None:
    asked = "plan", "--model", cascade_folder, "--size", "64x96"
    usual = total(run(*asked))[:2]
    options = ("--size", "128x192"), ("--num-frames", 20), ("--stages", "base"), ("--dtype", "bf16")
    for option in options:
        assert total(run(*asked, *option))[:2] != usual, option


@pytest.mark.slow
def test_a_gpu_works_on_whole_attention_where_a_cpu_takes_parts(
    run: Run, cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "plan", "--model", cascade_folder, "--size", "64x96"
    monkeypatch.setattr("mutoscope.systems.plan.matrix_rate", lambda *_: 1e12)
    monkeypatch.setattr("mutoscope.cli.making.pick_device", str)
    on_cpu, on_gpu = (run(*asked, "--device", device).out for device in ("cpu", "cuda"))
    assert "in 4 parts" in on_cpu
    assert "parts" not in on_gpu
    assert "cuda multiplies matrices" in on_gpu


@pytest.mark.long
@pytest.mark.slow
def test_what_a_memory_figure_changes_is_said(run: Run, cascade_folder: Path) -> None:
    asked = "plan", "--model", cascade_folder, "--size", "64x96", "--memory"
    assert "all in memory" in run(*asked, "1GB").out
    tight = run(*asked, least(run(*asked, "400MB"))).out
    assert "each network in memory only while it works" in tight
    assert re.search(
        r"^upscale .* tiles of \d+x\d+, guidance in two calls, attention in 4 parts$", tight, re.M
    )


@pytest.mark.slow
def test_a_video_made_in_little_memory_is_made_again(run: Run, cascade_folder: Path) -> None:
    asked = "generate", PROMPT, "--model", cascade_folder, "--size", "64x96", "--out"
    assert run(*asked, "free.mp4").code == 0
    assert run(*asked, "cut.mp4", "--memory", TIGHT).code == 0
    free, cut = (probe(Path(name)).metadata for name in ("free.mp4", "cut.mp4"))
    assert cut["settings"]["memory"] == TIGHT
    assert cut["frames_sha256"] != free["frames_sha256"]
    assert cut["weights"] == free["weights"]
    assert run("replay", "cut.mp4").code == 0


@pytest.mark.long
@pytest.mark.slow
def test_a_video_that_was_stopped_goes_on_in_little_memory(run: Run, cascade_folder: Path) -> None:
    asked = "generate", PROMPT, "--model", cascade_folder, "--dtype", "fp32", "--memory", TIGHT
    assert run(*asked, "--out", "whole.mp4").code == 0
    assert run(*asked, "--out", "keys.mp4", "--stages", "base", "--size", "16x24").code == 0
    assert run("continue", "keys.mp4").code == 0
    whole, gone_on = (probe(Path(name)).metadata for name in ("whole.mp4", "keys-whole.mp4"))
    assert gone_on["frames_sha256"] == whole["frames_sha256"]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("command", ["interpolate", "upscale"])
def test_given_videos_fit_in_little_memory_too(
    run: Run, cascade_folder: Path, command: str
) -> None:
    small = "generate", PROMPT, "--model", cascade_folder, "--stages", "base", "--size", "32x48"
    assert run(*small, "--out", "small.webp").code == 0
    asked = command, "small.webp", "--model", cascade_folder, "--out"
    assert run(*asked, "free.webp").code == 0
    assert run(*asked, "cut.webp", "--memory", TIGHT).code == 0
    assert run(*asked, "half.webp", "--memory", TIGHT, "--dtype", "bf16").code == 0
    assert least(run(*asked, "none.webp", "--memory", "400MB"))
    hashes = {probe(Path(name)).metadata["weights"] for name in ("free.webp", "cut.webp")}
    assert len(hashes) == 1


def test_old_files_without_a_memory_figure_are_still_made_again(
    run: Run, tiny_folder: Path
) -> None:
    from mutoscope.cli.making import Settings

    assert run("generate", PROMPT, "--model", tiny_folder, "--out", "v.mp4").code == 0
    record = dict(probe(Path("v.mp4")).metadata)
    settings = dict(record["settings"])
    del settings["memory"]
    assert Settings.from_record(Path("v.mp4"), {"settings": settings}).memory == ""


@pytest.mark.slow
def test_a_long_video_is_planned_clip_after_clip(run: Run, told_folder: Path) -> None:
    asked = "plan", "--model", told_folder, "--stages", "base"
    lines = run(*asked, "--seconds", 1.5).out.splitlines()
    assert lines[1].startswith("1.5 s are 12 frames at 8 a second: 4 clips of 4 key frames")
    assert re.search(r"^base .* windows of 4, attention in 4 parts$", "\n".join(lines), re.M)
    assert "is no length of a video" in run(*asked, "--seconds", "nan").err
    both = run(*asked, "--seconds", 1, "--num-frames", 8)
    assert "--seconds and --num-frames both say" in both.err
