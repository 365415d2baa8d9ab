"""Parts of clips."""

import numpy as np
import pytest

from mutoscope.data.cut import Cut
from mutoscope.data.sources import WorldSource
from mutoscope.errors import DataError

SOURCE = WorldSource(count=12, kind="video", num_frames=2, height=20, width=32)


@pytest.mark.slow
def test_a_part_is_at_one_place_of_all_frames() -> None:
    cut = Cut(source=SOURCE, height=8, width=12)
    places = set()
    for index in range(len(cut)):
        (whole, texts), (part, captions) = SOURCE.clip(index), cut.clip(index)
        assert part.shape == (2, 8, 12, 3)
        assert captions == texts
        windows = np.lib.stride_tricks.sliding_window_view(whole, (8, 12), axis=(1, 2))
        same = (windows == part.transpose(0, 3, 1, 2)[:, None, None]).all(axis=(0, 3, 4, 5))
        assert same.any()
        places.add(tuple(np.argwhere(same)[0]))
    assert len(places) > 6
    assert len(cut) == 12


@pytest.mark.slow
def test_the_same_part_each_time_and_another_with_another_seed() -> None:
    one, same, other = (Cut(source=SOURCE, height=8, width=12, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.clip(3)[0], same.clip(3)[0])
    assert not all(np.array_equal(one.clip(i)[0], other.clip(i)[0]) for i in range(12))
    assert one.key() == same.key() != other.key()
    assert one.key() != SOURCE.key()
    assert one.key() != Cut(source=SOURCE, height=8, width=13).key()


def test_the_whole_frame_is_a_part_and_more_is_refused() -> None:
    whole = Cut(source=SOURCE, height=20, width=32)
    assert np.array_equal(whole.clip(0)[0], SOURCE.clip(0)[0])
    with pytest.raises(DataError, match="21x32 pixels cannot be cut from frames of 20x32"):
        Cut(source=SOURCE, height=21, width=32).clip(0)
