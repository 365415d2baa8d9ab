"""Weight files: what is in them comes back, and nothing in them is ever run."""

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mutoscope.errors import ModelError
from mutoscope.systems.weight_files import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3).half()}


class MakesAFolder:
    """Makes a folder of the name `path` when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save(WEIGHTS, path),
        lambda path: torch.save({"ema": WEIGHTS, "model": {}, "step": 3}, path),
        lambda path: torch.save({n: torch.nn.Parameter(t) for n, t in WEIGHTS.items()}, path),
        lambda path: save_file(WEIGHTS, path.with_suffix(".safetensors")),
    ],
)
def test_weights_come_back_as_they_are(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "w.pt")
    (path,) = tmp_path.iterdir()
    found = read_weights(path)
    assert found.keys() == WEIGHTS.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, WEIGHTS[name])
        assert tensor.dtype == WEIGHTS[name].dtype
        assert not tensor.requires_grad


def test_code_in_a_file_is_named_and_not_run(tmp_path: Path) -> None:
    path, made = tmp_path / "w.pt", tmp_path / "made"
    torch.save({"ema": WEIGHTS, "args": MakesAFolder(made)}, path)
    with pytest.raises(ModelError, match=r"to read it all is to run (posix|nt)\.mkdir.*Nothing of"):
        read_weights(path)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()  # so the file does what it was made for, where it is let


def test_a_bare_pickle_is_not_run_either(tmp_path: Path) -> None:
    path, made = tmp_path / "w.pt", tmp_path / "made"
    path.write_bytes(pickle.dumps(MakesAFolder(made)))
    with pytest.raises(ModelError, match="nothing in it was run"):
        read_weights(path)
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists()


def test_harmless_objects_beside_the_weights_are_explained(tmp_path: Path) -> None:
    torch.save({"ema": WEIGHTS, "args": argparse.Namespace(lr=1e-4)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"run argparse\.Namespace.*its tensors alone"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "it is empty"),
        ({"ema": {}}, "it is empty"),
        (["weights"], "nor under the name 'ema': a list"),
        (torch.ones(2), "'ema': a Tensor"),
        ({"ema": {"a": torch.ones(1), "b": 1, "c": 2}}, "'ema': b; c. Give"),
        ({"state_dict": WEIGHTS}, "'ema': state_dict. Give"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=words):
        read_weights(tmp_path / "w.pt")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "is not whole"),
        (lambda path: path.write_bytes(b""), "is not whole"),
        (lambda path: path.write_text("<html>"), "is not whole"),
        (Path.unlink, "is not a file"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
        (
            lambda path: torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False),
            "PyTorch 1.6",
        ),
    ],
)
def test_damaged_files_are_one_line(
    tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "w.pt"
    torch.save(WEIGHTS, path)
    damage(path)
    with pytest.raises(ModelError, match=words) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_safetensors_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x07" * 100)
    with pytest.raises(ModelError, match="cannot be loaded"):
        read_weights(path)
