"""Frames that come in pieces: the same bits, and memory that does not grow with the video."""

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.errors import RequestError
from mutoscope.stages.super_resolution import SuperResolution
from mutoscope.systems.cost import cost_of
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.pieces import Stretches, joined
from mutoscope.systems.system import VideoOutput
from mutoscope.types import Size
from mutoscope.video.files import read_frames

PROMPT = "a red star drifts left"
TWO = ("base", "interpolate")
LATENTS = 24, 32
SMALL = np.random.default_rng(0).integers(0, 255, (13, 15, 23, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda system, **asked: system(PROMPT, stages=["base"], num_frames=11, **asked),
        lambda system, **asked: system([PROMPT] * 2, stages=TWO, num_frames=19, **asked),
        lambda system, **asked: system([PROMPT] * 2, num_frames=19, **asked),
        lambda system, **asked: system(PROMPT, num_frames=18, long=True, **asked),
        lambda system, **asked: system(PROMPT, num_frames=1, **asked),
        lambda system, **asked: system.interpolate(SMALL, fps=8.0, **asked),
        lambda system, **asked: system.upscale(SMALL, fps=8.0, **asked),
    ],
)
def test_pieces_are_the_frames_bit_for_bit(
    told_system: LaVie, make: Callable[..., VideoOutput]
) -> None:
    whole, pieces = make(told_system), make(told_system, output_type="pieces")
    taken = []
    for piece in pieces.frames:
        assert not torch.is_inference_mode_enabled()
        taken.append(piece)
    assert len(taken) > 1 or whole.frames.shape[1] == 1
    assert np.array_equal(np.concatenate(taken, axis=1), whole.frames)
    assert pieces.fps == whole.fps


@pytest.mark.slow
def test_generators_that_are_passed_go_on_as_with_whole_frames(tiny_cascade: LaVie) -> None:
    ours, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
    made = tiny_cascade(PROMPT, num_frames=10, seeds=[ours], output_type="pieces")
    whole = tiny_cascade(PROMPT, num_frames=10, seeds=[theirs])
    assert np.array_equal(joined(made.frames, 10), whole.frames)
    assert torch.equal(torch.randn(9, generator=ours), torch.randn(9, generator=theirs))


def peak(system: LaVie, stages: Sequence[str], num_frames: int, output_type: str) -> int:
    """Most bytes of tensors and arrays, of decoding or enlarging frames whose latents are there."""
    height, width = LATENTS
    latents = torch.randn(
        1, 4, num_frames, height, width, generator=torch.Generator().manual_seed(0)
    )

    def work() -> None:
        made = system(
            PROMPT, stages=stages, resume=("interpolate", latents), output_type=output_type
        )
        for _ in made.frames:
            pass

    tracemalloc.start()
    try:
        tensors = cost_of(work).peak
        return tensors + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("stages", [TWO, pytest.param((*TWO, "upscale"), marks=pytest.mark.long)])
def test_memory_of_pieces_grows_with_the_latents_alone(
    tiny_cascade: LaVie, monkeypatch: pytest.MonkeyPatch, stages: Sequence[str]
) -> None:
    # What the network makes of a window is not what is asked here, and takes most of the time.
    monkeypatch.setattr(SuperResolution, "predict", lambda stage, noisy, time, condition: noisy)
    few, many = (16, 64) if stages == TWO else (14, 26)  # large frames take longer
    side = tiny_cascade.enlargement(stages)
    height, width = LATENTS
    frame, latents = 3 * (2 * height * side) * (2 * width * side), 4 * 4 * height * width
    peak(tiny_cascade, stages, many, "pieces")  # what is imported and cached by then stays
    grown = {
        kind: peak(tiny_cascade, stages, many, kind) - peak(tiny_cascade, stages, few, kind)
        for kind in ("pieces", "uint8")
    }
    assert grown["pieces"] < (many - few) * (latents + frame / 2)
    assert grown["uint8"] > (many - few) * (latents + frame * 0.9)


def test_few_frames_are_decoded_before_the_first_is_taken(
    tiny_cascade: LaVie, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    pieces = LaVie.pieces

    def counting(*asked: object) -> Iterator[np.ndarray]:
        for piece in pieces(*asked):
            seen.append(piece.shape[1])
            yield piece

    monkeypatch.setattr(LaVie, "pieces", counting)
    latents = torch.randn(1, 4, 40, 8, 12, generator=torch.Generator().manual_seed(0))
    usual = tiny_cascade.usual_cuts()
    cuts = replace(usual, large=replace(usual.large, frames=3))
    asked = {"resume": ("interpolate", latents), "output_type": "pieces", "cuts": cuts}
    made = tiny_cascade(PROMPT, **asked).frames
    assert seen == []
    assert next(made).shape == (1, 3, 32, 48, 3)
    assert seen == [8]
    made.close()


def test_stretches_share_frames_and_let_go_of_those_before() -> None:
    clip = np.arange(2 * 20, dtype=np.uint8).reshape(2, 20, 1, 1, 1).repeat(3, axis=-1)
    taken = []

    def pieces() -> Iterator[np.ndarray]:
        for start in range(0, 20, 3):
            taken.append(start)
            yield clip[:, start : start + 3]

    stretches = Stretches(pieces())
    for start, stop, last in ((0, 4, 3), (2, 6, 3), (3, 7, 6), (12, 20, 18)):
        assert np.array_equal(stretches(slice(start, stop)), clip[:, start:stop])
        assert taken[-1] == last
        assert sum(piece.shape[1] for piece in stretches._held) <= stop - start + 4


@pytest.mark.slow
def test_pieces_can_be_saved_and_tensors_cannot(tiny_cascade: LaVie, tmp_path: Path) -> None:
    asked = {"num_frames": 10, "size": Size(16, 24), "stages": TWO}
    made = tiny_cascade([PROMPT] * 2, output_type="pieces", **asked)
    made.save(tmp_path / "v.webp", index=1)
    whole = tiny_cascade([PROMPT] * 2, **asked)
    assert np.array_equal(read_frames(tmp_path / "v.webp")[0], whole.frames[1])
    with pytest.raises(RequestError, match="only output_type='uint8' and 'pieces' can"):
        tiny_cascade(PROMPT, output_type="latent", **asked).save(tmp_path / "w.mp4")
