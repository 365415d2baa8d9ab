"""`generate`, `inspect` and `replay`: one sentence to a file, and the same frames again."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from mutoscope.diffusion.reuse import Reuse
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.lora import base_hash
from mutoscope.systems.reuse_curve import curve_text
from mutoscope.types import Size
from mutoscope.video.files import probe, read_frames
from tests.cli.conftest import Result
from tests.systems.test_reuse_curve import curve

PROMPT = "a red star drifts left"
Run = Callable[..., Result]


def test_a_sentence_becomes_a_video_named_after_it(run: Run, tiny_folder: Path) -> None:
    result = run("generate", PROMPT, "--model", tiny_folder, "--seed", 7)
    assert result.code == 0
    assert result.err == ""
    assert result.out.startswith("a-red-star-drifts-left-7.mp4  (4 frames 16x24, seed 7, ")
    info = probe(Path("a-red-star-drifts-left-7.mp4"))
    assert (info.num_frames, info.height, info.width, info.fps) == (4, 16, 24, 8.0)


@pytest.mark.slow
def test_the_file_holds_the_frames_that_python_gives(
    run: Run, tiny_folder: Path, tiny_system: LaVie
) -> None:
    assert run("generate", PROMPT, "--model", tiny_folder, "--seed", 7, "--out", "v.webp").code == 0
    frames, _ = read_frames(Path("v.webp"))
    assert np.array_equal(frames, tiny_system(PROMPT, seeds=7).frames[0])


@pytest.mark.slow
def test_every_option_reaches_the_video(run: Run, tiny_folder: Path, tiny_system: LaVie) -> None:
    options = (
        "--negative night --steps 2 --guidance 3 --size 20x32 --num-frames 6 --fps 12 --seed 5 "
        "--device cpu --dtype fp32"
    )
    result = run("generate", PROMPT, "--model", tiny_folder, "--out", "v.webp", *options.split())
    assert result.code == 0
    expected = tiny_system(
        PROMPT,
        negative_prompt="night",
        steps=2,
        guidance_scale=3.0,
        size=Size(20, 32),
        num_frames=6,
        seeds=5,
    )
    assert np.array_equal(read_frames(Path("v.webp"))[0], expected.frames[0])
    info = json.loads(run("inspect", "v.webp").out)
    assert (info["num_frames"], info["height"], info["width"]) == (6, 20, 32)
    assert info["fps"] == pytest.approx(12.0, rel=0.01)  # WebP counts whole milliseconds
    settings = info["made"]["settings"]
    assert settings.pop("threads") >= 1
    assert settings == {
        "model": str(tiny_folder.resolve()),
        "prompt": PROMPT,
        "negative": "night",
        "seed": 5,
        "stages": "base",
        "num_frames": 6,
        "height": 20,
        "width": 32,
        "steps": 2,
        "guidance": 3.0,
        "device": "cpu",
        "dtype": "fp32",
        "lora": "",
        "memory": "",
        "narrowed": "",
        "long": False,
        "image": "",
        "image_sha256": "",
        "reuse_interval": 1,
        "reuse_layers": 0,
        "compiled": False,
        "noise_level": None,
    }
    assert set(info["made"]) == {
        "settings", "frames_sha256", "weights", "mutoscope", "package", "versions", "machine",
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.slow
def test_the_noise_level_reaches_the_upscaler_even_after_a_stop(
    run: Run, cascade_folder: Path, tiny_folder: Path
) -> None:
    ask = "generate", PROMPT, "--model", cascade_folder

    def sha(name: str) -> object:
        return probe(Path(name)).metadata["frames_sha256"]

    assert run(*ask, "--out", "usual.mp4").code == 0
    assert run(*ask, "--out", "more.mp4", "--noise-level", 7).code == 0
    assert run(*ask, "--out", "keys.mp4", "--noise-level", 7, "--stages", "base").code == 0
    assert run("continue", "keys.mp4", "--out", "later.mp4").code == 0
    assert sha("more.mp4") == sha("later.mp4") != sha("usual.mp4")
    assert run("replay", "more.mp4").code == 0
    small = "generate", PROMPT, "--model", tiny_folder, "--noise-level"
    assert "does not enlarge" in run(*small, 7).err
    assert "noise level 400 cannot be used" in run(*ask, "--noise-level", 400).err


@pytest.mark.slow
def test_the_quality_loss_allowed_decides_what_is_reused(
    run: Run, copy_of_tiny: Callable[[], Path], tiny_system: LaVie
) -> None:
    folder = copy_of_tiny()
    (folder / "reuse.json").write_text(
        curve_text(curve(weights=base_hash(tiny_system), draft_until=None))
    )
    exact = tiny_system(PROMPT, seeds=0).frames[0]
    for loss, reuse in (
        ("0", None),
        ("0.9%", None),
        ("2.4", Reuse(interval=2, layers=2)),
        ("4", Reuse(interval=3, layers=1)),
    ):
        made = run(
            *("generate", PROMPT, "--model", folder, "--out", "v.webp", "--max-quality-loss", loss)
        )
        assert made.code == 0, made
        assert ("measured on 8 prompts, 2026-01-02" in made.out) == (loss != "0")
        frames, _ = read_frames(Path("v.webp"))
        assert np.array_equal(frames, tiny_system(PROMPT, seeds=0, reuse=reuse).frames[0])
        assert np.array_equal(frames, exact) == (reuse is None)
        assert run("replay", "v.webp").code == 0
    (folder / "reuse.json").write_text(curve_text(curve(weights="other")))
    wrong = run("generate", PROMPT, "--model", folder, "--max-quality-loss", "2%")
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert "it was measured for others (other; these are" in wrong.err


@pytest.mark.slow
def test_several_prompts_and_seeds_and_their_sheet(run: Run, tiny_folder: Path) -> None:
    Path("more.txt").write_text("a blue circle\n\n")
    result = run(
        "generate", PROMPT, "--prompts", "more.txt", "--num-videos", 2, "--model", tiny_folder,
        "--out", "new/v.mp4", "--sheet",
    )  # fmt: skip
    assert result.code == 0
    names = sorted(p.name for p in Path("new").iterdir())
    assert names == ["v-0-sheet.png", "v-0.mp4", "v-1.mp4", "v-2.mp4", "v-3.mp4"]
    made = [probe(Path("new") / f"v-{i}.mp4").metadata["settings"] for i in range(4)]
    assert [(m["prompt"], m["seed"]) for m in made] == [
        (PROMPT, 0), (PROMPT, 1), ("a blue circle", 0), ("a blue circle", 1),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("out", ["v.mp4", "v.gif", "v.webp", "folder"])
def test_replay_is_exact_in_every_format(run: Run, tiny_folder: Path, out: str) -> None:
    assert run("generate", PROMPT, "--model", tiny_folder, "--out", out).code == 0
    result = run("replay", out)
    assert result.code == 0
    assert result.out.startswith("identical: 4 frames")


@pytest.mark.slow
def test_replay_of_one_of_many_is_exact(run: Run, tiny_folder: Path) -> None:
    run("generate", PROMPT, "--model", tiny_folder, "--num-videos", 3, "--out", "v.mp4")
    assert run("replay", "v-2.mp4").code == 0


@pytest.mark.slow
def test_replay_with_other_weights_says_so_and_how_far(
    run: Run, copy_of_tiny: Callable[[], Path]
) -> None:
    folder = copy_of_tiny()
    run("generate", PROMPT, "--model", folder, "--out", "v.webp")
    file = folder / "base" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_out.weight"] *= 1.1
    save_file(weights, file, {"format": "pt"})
    result = run("replay", "v.webp")
    assert result.code == 1
    assert result.out.startswith("different: on average ")
    assert "changed since: weights" in result.out


@pytest.mark.slow
def test_a_still_is_a_picture_of_the_same_network(run: Run, tiny_folder: Path) -> None:
    assert run("generate", PROMPT, "--model", tiny_folder, "--still", "--out", "s.png").code == 0
    with Image.open("s.png") as picture:
        assert picture.size == (24, 16)
    assert run("replay", "s.png").code == 0


def test_words_it_never_learned_are_named(run: Run, tiny_folder: Path) -> None:
    result = run("generate", "a red zebra in the sea", "--model", tiny_folder, "--out", "v.mp4")
    assert result.code == 0
    assert result.err == "mutoscope: the model never learned 'zebra', 'in'; it will guess.\n"
