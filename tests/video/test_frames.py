"""Conversions of frames lose nothing, and a fingerprint sees every change."""

import numpy as np
import pytest
import torch

from mutoscope.errors import MutoscopeError
from mutoscope.types import Size
from mutoscope.video.frames import fingerprint, resize, to_bytes, to_floats


def every_value() -> np.ndarray:
    return np.arange(2 * 16 * 8 * 3, dtype=np.uint32).astype(np.uint8).reshape(2, 16, 8, 3)


def test_every_byte_survives_the_round_trip() -> None:
    frames = every_value()
    assert len(np.unique(frames)) == 256
    assert np.array_equal(to_bytes(to_floats(frames)[None])[0], frames)


def test_range_and_layout() -> None:
    frames = np.zeros((2, 4, 6, 3), dtype=np.uint8)
    frames[1, 2, 3, 0] = 255
    floats = to_floats(frames)
    assert floats.shape == (3, 2, 4, 6)
    assert floats.dtype == torch.float32
    assert floats.min() == -1.0
    assert floats[0, 1, 2, 3] == 1.0


def test_values_outside_the_range_are_cut_and_the_nearest_byte_is_taken() -> None:
    video = torch.tensor([-9.0, -1.0, 1 / 255 * 0.9 - 1 / 255, 1.0, 9.0]).reshape(1, 1, 1, 1, 5)
    assert to_bytes(video.expand(1, 3, 1, 1, 5))[0, 0, 0, :, 0].tolist() == [0, 0, 127, 255, 255]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_not_made_black(value: float) -> None:
    video = torch.zeros(1, 3, 2, 4, 6)
    video[0, 1, 1, 2, 3] = value
    with pytest.raises(MutoscopeError, match="frames of 4x6 hold values that are no numbers"):
        to_bytes(video)


def test_the_fingerprint_sees_one_bit_an_order_and_a_shape() -> None:
    frames = every_value()
    changed = frames.copy()
    changed[1, 3, 2, 1] ^= 1
    others = [changed, frames[::-1], frames.reshape(4, 8, 8, 3), frames.reshape(2, 8, 16, 3)]
    prints = [fingerprint(f) for f in (frames, *others)]
    assert len(set(prints)) == 5
    assert fingerprint(frames[::-1][::-1]) == prints[0]  # memory layout does not matter


@pytest.mark.parametrize("size", [Size(8, 4), Size(32, 16), Size(9, 21)])
def test_resize_keeps_flat_colours_and_gives_the_size_asked_for(size: Size) -> None:
    frames = np.full((3, 16, 8, 3), (10, 200, 90), dtype=np.uint8)
    resized = resize(frames, size)
    assert resized.shape == (3, size.height, size.width, 3)
    assert np.array_equal(np.unique(resized.reshape(-1, 3), axis=0), [[10, 200, 90]])
