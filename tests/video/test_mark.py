"""The watermark: where it is, and what it leaves of the frames."""

import numpy as np
import pytest

from mutoscope.types import Size
from mutoscope.video.mark import mark, marked


@pytest.mark.parametrize("size", [Size(80, 128), Size(40, 64), Size(320, 512), Size(5, 19)])
def test_the_mark_lies_within_the_frame_and_its_letters_can_be_told(size: Size) -> None:
    place = mark(size)
    assert place.shape == (size.height, size.width)
    assert set(np.unique(place)) == {0.0, 1.0}
    rows, columns = place.any(axis=1), place.any(axis=0)
    cell = max(1, size.height // 26)
    assert (rows.sum(), np.ptp(np.flatnonzero(columns)) + 1) == (5 * cell, 19 * cell)


def test_only_its_strokes_change_and_by_the_opacity() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 80, 128, 3)).astype(np.uint8)
    over = marked(frames, opacity=0.5)
    strokes = mark(Size(80, 128)) > 0
    assert (over[:, ~strokes] == frames[:, ~strokes]).all()
    expected = (frames[:, strokes].astype(float) + 255) / 2
    assert np.abs(over[:, strokes] - expected).max() <= 0.5
    assert (marked(frames, opacity=1.0)[:, strokes] == 255).all()
    assert (marked(frames, opacity=0.0) == frames).all()
