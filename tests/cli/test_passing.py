"""Frames that are drawn while they are written: what can go wrong meanwhile, and what is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mutoscope.cli.passing import Passing
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.system import System
from mutoscope.video.frames import fingerprint
from mutoscope.video.sheets import contact_sheet
from tests.cli.conftest import Result

PROMPT = "a red star drifts left"
Run = Callable[..., Result]


def broken_by(error: BaseException) -> Callable[..., Iterator[np.ndarray]]:
    """A decoder that fails at its second piece."""

    def pieces(self: System, latents: torch.Tensor, *_: object) -> Iterator[np.ndarray]:
        yield np.full((1, 8, 16, 24, 3), 90, np.uint8)
        raise error

    return pieces


def test_what_has_passed_is_known() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
    passing = Passing(iter(frames), 20, for_sheet=True)
    assert all(np.array_equal(one, other) for one, other in zip(passing, frames, strict=True))
    assert passing.sha256() == fingerprint(frames)
    kept = np.stack(passing.kept)
    assert np.array_equal(contact_sheet([kept], ["a"]), contact_sheet([frames], ["a"]))
    assert len(kept) == 8


@pytest.mark.slow
def test_the_sheet_is_that_of_the_whole_clip(
    run: Run, tiny_folder: Path, tiny_system: LaVie
) -> None:
    options = ("--model", tiny_folder, "--num-frames", 11, "--out", "v.mp4", "--sheet")
    assert run("generate", PROMPT, *options).code == 0
    expected = contact_sheet(
        [tiny_system(PROMPT, num_frames=11).frames[0]], [f"{PROMPT}  (seed 0)"]
    )
    with Image.open("v-sheet.png") as sheet:
        assert np.array_equal(np.asarray(sheet), expected)


@pytest.mark.slow
@pytest.mark.parametrize("out", ["v.mp4", "v.webp", "folder"])
def test_what_stops_the_drawing_leaves_no_file(
    run: Run, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    options = ("--model", tiny_folder, "--num-frames", 16, "--out", out)
    for error, code, said in (
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C; nothing half-finished was left behind."),
        (OSError(5, "Input/output error", "weights"), 1, "weights: Input/output error"),
        (MemoryError(), 1, "there is not enough memory for this: it ran out in decode"),
    ):
        monkeypatch.setattr(System, "pieces", broken_by(error))
        result = run("generate", PROMPT, *options)
        assert result.code == code
        assert result.err.startswith(f"mutoscope: {said}")
        assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_a_damaged_file_is_not_called_the_same(run: Run, tiny_folder: Path) -> None:
    options = ("--model", tiny_folder, "--num-frames", 16, "--out", "v.mp4")
    assert run("generate", PROMPT, *options).code == 0
    whole = Path("v.mp4").read_bytes()
    Path("v.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    result = run("replay", "v.mp4")
    assert (result.code, result.out) == (1, "")
    assert "v.mp4 is damaged" in result.err or "v.mp4 cannot be read" in result.err
