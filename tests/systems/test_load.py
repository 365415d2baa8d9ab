"""Saved folders come back bit for bit; whatever is wrong with one is said in one line."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

import mutoscope
from mutoscope.cli.main import main
from mutoscope.encoding.identity import weights_hash
from mutoscope.errors import ModelError, RequestError, is_out_of_memory
from mutoscope.systems import system as system_module
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import load
from mutoscope.systems.shelf import Shelf

WEIGHTS = "base/diffusion_pytorch_model.safetensors"


@pytest.mark.slow
def test_a_saved_system_comes_back_whole(tiny_system: LaVie, tiny_folder: Path) -> None:
    loaded = mutoscope.load(tiny_folder)
    assert type(loaded) is LaVie
    assert loaded.config.vocabulary == tiny_system.config.vocabulary
    assert loaded.weights_hash() == tiny_system.weights_hash()
    assert np.array_equal(loaded("a red star").frames, tiny_system("a red star").frames)
    again = LaVie.from_pretrained(tiny_folder)
    assert again.weights_hash() == tiny_system.weights_hash()


def test_weights_run_in_the_precision_asked_for_whatever_they_are_stored_in(
    tiny_system: LaVie, tiny_folder: Path, tmp_path: Path
) -> None:
    half = load(tiny_folder, dtype=torch.float16)
    assert {p.dtype for p in half.base.parameters()} == {torch.float16}
    half.save_pretrained(tmp_path / "half")
    full = load(tmp_path / "half")
    for module in (full.base, full.vae, full.text_encoder):
        assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert full.weights_hash() == half.weights_hash() != tiny_system.weights_hash()
    assert full("a red star").frames.shape == (1, 4, 16, 24, 3)


def test_a_changed_weight_changes_the_hash(copy_of_tiny: Callable[[], Path]) -> None:
    folder = copy_of_tiny()
    before = load(folder).weights_hash()
    weights = load_file(folder / WEIGHTS)
    weights["conv_in.bias"][0] += 1e-3
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    assert load(folder).weights_hash() != before


def truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100_000])


def corrupt(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x07" * 5000)


def truncate_text_encoder(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:10_000])


def lose_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def pickled_weights_only(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "base" / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def lose_component(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def change_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, {"format": "pt"})

    return damage


def write_index(text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "model_index.json").write_text(text)

    return damage


def break_config(folder: Path) -> None:
    (folder / "base" / "config.json").write_text('{"in_channels": ')


def break_tokenizer(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").write_text("{")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "cannot be loaded"),
        (corrupt, "cannot be loaded"),
        (truncate_text_encoder, "cannot be loaded"),
        (lose_weights, "no file named"),
        (pickled_weights_only, "no file named"),
        (lose_component, r"its vae \(AutoencoderKL\) is missing"),
        (change_tensors(lambda w: w.pop("conv_in.bias")), r"VideoUNet: conv_in\.bias is missing\."),
        (change_tensors(lambda w: w.update(odd=torch.ones(2))), r"VideoUNet: odd is unknown\."),
        (
            change_tensors(lambda w: w.update({"conv_in.bias": torch.ones(7)})),
            r"conv_in\.bias is \(7,\)",
        ),
        (write_index("{"), "cannot be loaded"),
        (write_index("[]"), "cannot be loaded"),
        (write_index('{"_class_name": "LaVie"}'), "cannot be loaded"),
        (write_index(json.dumps({"_class_name": "WanPipeline"})), "holds a WanPipeline"),
        (break_config, "cannot be loaded"),
        (break_tokenizer, "cannot be loaded"),
    ],
)
def test_a_damaged_folder_is_one_line(
    copy_of_tiny: Callable[[], Path],
    damage: Callable[[Path], None],
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = copy_of_tiny()
    damage(folder)
    with pytest.raises(ModelError, match=words) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert capfd.readouterr().err == ""  # the libraries add nothing of their own


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        SafetensorError("unable to mmap 9 bytes from file <a>: Cannot allocate memory (12)"),
    ],
)
def test_a_lack_of_memory_is_not_called_damage(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def no_memory(*_: object) -> None:
        raise error

    monkeypatch.setattr(Shelf, "fetch", no_memory)
    with pytest.raises(type(error)) as caught:
        load(tiny_folder)
    assert is_out_of_memory(caught.value)


def test_a_device_that_is_not_there_is_named(tiny_folder: Path) -> None:
    with pytest.raises(RequestError, match=r"device 'cpuu' cannot be used here\. Use cpu"):
        load(tiny_folder, device="cpuu")


def test_a_folder_does_not_choose_what_code_runs(copy_of_tiny: Callable[[], Path]) -> None:
    folder = copy_of_tiny()
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["this", "that"]  # importing it would print
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"asks for that of 'this' as its vae"):
        load(folder)
    assert "this" not in sys.modules


@pytest.mark.slow
def test_weights_are_hashed_again_only_when_they_have_changed(
    copy_of_tiny: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []

    def counted(*arguments: Any, **others: Any) -> str:
        hashed.append(1)
        return weights_hash(*arguments, **others)

    monkeypatch.setattr(system_module, "weights_hash", counted)
    system = load(copy_of_tiny())
    first = system.weights_hash()
    assert (system.weights_hash(), len(hashed)) == (first, 1)
    with torch.no_grad():
        next(system.base.parameters()).mul_(2)
    second = system.weights_hash()
    assert (second != first, len(hashed)) == (True, 2)
    system.base.conv_in.bias = nn.Parameter(torch.full_like(system.base.conv_in.bias, 7))
    assert system.weights_hash() not in (first, second)


def test_what_is_no_model_at_all(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'nope' is neither .* lavie-mini, lavie, or OWNER/NAME"):
        load("nope")
    with pytest.raises(ModelError, match=r"is neither a folder"):
        load(Path("owner/name"))  # a path is none of the Hub's names
    with pytest.raises(ModelError, match=r"holds no model_index.json"):
        load(tmp_path)
    with pytest.raises(ModelError, match="single component"):
        load(tiny_folder / "vae")


@pytest.mark.slow
def test_a_folder_comes_before_a_known_name(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder, "lavie-mini")
    assert load("lavie-mini").weights_hash() == load(tiny_folder).weights_hash()
    shutil.rmtree("lavie-mini")
    assert load("lavie-mini").weights_hash() != load(tiny_folder).weights_hash()
    Path("lavie-mini").mkdir()
    with pytest.raises(ModelError, match=r"'lavie-mini' holds no model_index\.json"):
        load("lavie-mini")


def test_the_full_size_lies_where_a_machine_keeps_such_things(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ModelError, match=rf"--out {tmp_path}/\.cache/mutoscope/lavie$"):
        load("lavie")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    with pytest.raises(ModelError, match=rf"--out {tmp_path}/kept/mutoscope/lavie$"):
        load("lavie")
    shutil.copytree(tiny_folder, tmp_path / "kept" / "mutoscope" / "lavie")
    assert load("lavie").weights_hash() == load(tiny_folder).weights_hash()


@pytest.mark.long
@pytest.mark.slow
def test_the_full_size_is_made_as_the_message_says(
    published_files: Path, converted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="model 'lavie' is not here yet") as caught:
        load("lavie")
    Path("LaVie").mkdir()
    for ours, theirs in (("base", "base"), ("interpolation",) * 2, ("super_resolution", "vsr")):
        shutil.copy(published_files / f"{ours}.pt", f"LaVie/lavie_{theirs}.pt")
    shutil.copytree(published_files / "sd", "stable-diffusion-v1-4")
    shutil.copytree(published_files / "x4", "stable-diffusion-x4-upscaler")
    _, command = str(caught.value).split("mutoscope convert ")
    with pytest.raises(SystemExit) as stop:
        main(["convert", *command.split()])
    assert not stop.value.code
    assert load("lavie").weights_hash() == load(converted_folder).weights_hash()
