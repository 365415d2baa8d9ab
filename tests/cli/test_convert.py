"""`mutoscope convert`: published files and folders on the command line."""

from pathlib import Path

import pytest
import torch

from mutoscope.systems.load import load
from tests.cli.test_bad_input import assert_one_line
from tests.cli.test_generate import Run
from tests.systems.test_weight_files import MakesAFolder


@pytest.mark.slow
def test_the_released_files_become_a_model(
    run: Run, published_files: Path, converted_folder: Path
) -> None:
    files = ["--base", published_files / "base.pt"]
    files += ["--interpolation", published_files / "interpolation.pt"]
    files += ["--upscale", published_files / "super_resolution.pt"]
    folders = ["--sd", published_files / "sd", "--x4", published_files / "x4"]
    result = run("convert", "lavie", *files, *folders, "--out", "made")
    assert (result.code, result.err) == (0, "")
    assert "base  (1,945,092 weights)\n" in result.out
    assert result.out.endswith("(a model: mutoscope ... --model made)\n")
    same = {path.relative_to(converted_folder) for path in converted_folder.rglob("*.*")}
    assert {path.relative_to("made") for path in Path("made").rglob("*.*")} == same
    for path in same:
        assert Path("made", path).read_bytes() == (converted_folder / path).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "option", "stage"),
    [("stable-diffusion", "sd", "base"), ("x4-upscaler", "x4", "upscale")],
)
def test_image_models_become_a_start(
    run: Run, published_files: Path, source: str, option: str, stage: str
) -> None:
    told = ["--from", source, f"--{option}", published_files / option, "--out", "start"]
    assert run("convert", *told).code == 0
    assert load("start").stages == (stage,)
    assert run("convert", *told).err.count("a folder of that name is in the way") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["lavie"], 1, "nothing is to be converted"),
        (["stiv", "--base", "b.pt"], 1, "'stiv' --from 'released' cannot be made"),
        (["--from", "flux"], 1, "possible is lavie, from released, stable-diffusion, x4-upscaler"),
        (["--base", "b.pt"], 1, "without sd: text encoder, autoencoder and shapes come from"),
        (["--from", "stable-diffusion"], 1, "--from stable-diffusion needs --sd"),
        (["--from", "stable-diffusion", "--x4", "x"], 1, "--x4 has no part in --from stable-diff"),
        (["--from", "x4-upscaler", "--x4", "x", "--base", "b"], 1, "which takes --x4. Leave"),
        (["--base", "none.pt", "--sd", "SD"], 1, "none.pt is not a file"),
        (["--base", "none.pt", "--sd", "none"], 1, "none/unet/config.json is not there"),
        (["--bass", "none.pt"], 2, "--bass"),
    ],
)
def test_mistakes(
    run: Run, published_files: Path, arguments: list[str], code: int, words: str
) -> None:
    told = [str(published_files / "sd") if argument == "SD" else argument for argument in arguments]
    assert_one_line(run("convert", *told, "--out", "made"), code, words)


@pytest.mark.slow
def test_a_file_with_code_in_it(run: Run, published_files: Path, tmp_path: Path) -> None:
    made = tmp_path / "made-by-the-file"
    torch.save({"ema": {}, "args": MakesAFolder(made)}, tmp_path / "w.pt")
    told = ["--base", tmp_path / "w.pt", "--sd", published_files / "sd", "--out", "made"]
    assert_one_line(run("convert", "lavie", *told), 1, "holds more than tensors")
    assert not made.exists()
