"""Compiled networks: which blocks are, what is refused, and that frames are the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mutoscope.errors import RequestError
from mutoscope.nn.blocks import ResnetBlock
from mutoscope.nn.transformer import Transformer
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.load import load
from mutoscope.video.files import probe, read_frames
from tests.tiny import SENTENCE


def is_compiled(module: object) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None


@pytest.mark.slow
def test_the_blocks_of_all_denoisers_are_compiled_and_nothing_else(cascade_folder: Path) -> None:
    system = load(cascade_folder)
    system.compile_networks()
    for name, component in system.components.items():
        if isinstance(component, VideoUNet):
            blocks = [m for m in component.modules() if isinstance(m, ResnetBlock | Transformer)]
            assert blocks
            assert all(map(is_compiled, blocks)), name
            assert not is_compiled(component)
        elif hasattr(component, "modules"):
            assert not any(map(is_compiled, component.modules())), name
    assert system.weights_hash() == load(cascade_folder).weights_hash()


@pytest.mark.slow
def test_what_cannot_be_compiled_is_said(
    cascade_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="Load the model without offload"):
        load(cascade_folder, offload=True).compile_networks()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RequestError, match="needs a C\\+\\+ compiler, and no-such-compiler is not"):
        load(cascade_folder).compile_networks()


def made(folder: Path, *words: object) -> None:
    """Runs the program by itself: what checks types in tests cannot be compiled."""
    command = [sys.executable, "-m", "mutoscope.cli.main", *map(str, words)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.long
def test_frames_are_the_same_but_for_rounding_and_can_be_made_again(
    tiny_folder: Path, tmp_path: Path
) -> None:
    asked = ["generate", SENTENCE, "--model", tiny_folder, "--stages", "base"]
    made(tmp_path, *asked, "--compile", "--out", "compiled.webp")
    made(tmp_path, *asked, "--out", "plain.webp")
    files = [tmp_path / "compiled.webp", tmp_path / "plain.webp"]
    assert [probe(file).metadata["settings"]["compiled"] for file in files] == [True, False]
    compiled, plain = (read_frames(file)[0].astype(int) for file in files)
    assert np.mean(np.abs(compiled - plain) <= 1) >= 0.999
    made(tmp_path, "replay", "compiled.webp")
