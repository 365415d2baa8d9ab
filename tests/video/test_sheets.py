"""Contact sheets show the frames that they should, unblurred, with readable captions."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mutoscope.errors import RequestError
from mutoscope.video.sheets import contact_sheet, write_png


def numbered(num_frames: int, height: int = 40, width: int = 64) -> np.ndarray:
    """A clip whose frame `i` is flat with red value 10 * (i + 1)."""
    frames = np.zeros((num_frames, height, width, 3), dtype=np.uint8)
    frames[..., 0] = 10 * (np.arange(num_frames) + 1)[:, None, None]
    return frames


def reds(sheet: np.ndarray) -> list[int]:
    """The red values of all pixels that are purely red, as the numbered frames are."""
    return sorted(np.unique(sheet[(sheet[..., 1:] == 0).all(-1)][:, 0]).tolist())


def test_first_and_last_frame_are_always_shown() -> None:
    assert reds(contact_sheet([numbered(16)], ["x"], num_columns=4)) == [10, 60, 110, 160]
    assert reds(contact_sheet([numbered(3)], ["x"], num_columns=8)) == [10, 20, 30]


def test_clips_of_other_sizes_are_fitted() -> None:
    small, large = numbered(2), numbered(2, 80, 128) + np.uint8(100) * np.array([1, 0, 0], np.uint8)
    assert reds(contact_sheet([small, large], ["a", "b"], num_columns=2)) == [10, 20, 110, 120]


def test_captions_are_drawn_and_long_ones_wrap() -> None:
    clip = np.full((2, 96, 96, 3), 255, dtype=np.uint8)
    short = contact_sheet([clip], ["a star"], num_columns=2)
    long = contact_sheet([clip], ["a star " * 12], num_columns=2)
    assert (short < 100).any()  # ink
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0]
    assert not (long[:, -8:] < 100).any()  # no word runs over the margin


def test_numbers_that_do_not_fit_together() -> None:
    with pytest.raises(RequestError, match="1 clips, 2 captions"):
        contact_sheet([numbered(2)], ["a", "b"])
    with pytest.raises(RequestError, match="0 clips"):
        contact_sheet([], [])


def test_the_png_holds_the_sheet(tmp_path: Path) -> None:
    sheet = contact_sheet([numbered(4)], ["four"])
    write_png(tmp_path / "new" / "sheet.png", sheet)
    with Image.open(tmp_path / "new" / "sheet.png") as picture:
        assert np.array_equal(np.asarray(picture), sheet)
