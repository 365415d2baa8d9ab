"""Stills filmed by hand: windows of the still, on a smooth path that stays near the middle."""

import numpy as np
import pytest

from mutoscope.data.shaken import Shaken
from mutoscope.data.sources import WorldSource
from mutoscope.errors import DataError

STILLS = WorldSource(count=4, kind="image", num_frames=1, height=64, width=96)


def filmed(**changes: float) -> Shaken:
    return Shaken(stills=STILLS, num_frames=8, margin=8, reach=4.0, **changes)  # type: ignore[arg-type]


def test_every_frame_is_a_window_of_the_still() -> None:
    source = filmed()
    for index in range(len(source)):
        frames, captions = source.clip(index)
        (still, *_), told = STILLS.clip(index)
        assert captions == told
        assert frames.shape == (8, 48, 80, 3)
        for frame, (down, right) in zip(frames, source.path(index), strict=True):
            window = still[8 + down : 56 + down, 8 + right : 88 + right]
            assert np.array_equal(frame, window)


def test_the_hand_trembles_and_stays() -> None:
    source = Shaken(stills=STILLS, num_frames=200, margin=32)
    paths = np.stack([source.path(index) for index in range(40)])
    steps = np.abs(np.diff(paths, axis=1))
    assert 0.1 < steps.mean() < 5
    assert steps.max() <= 8
    # As far from the middle late as early, and on no side of it more often.
    early, late = paths[:, :20].std(), paths[:, -20:].std()
    assert 0.5 < late / early < 2
    assert np.abs(paths.mean(axis=(0, 1))).max() < 4
    assert np.abs(paths).max() <= 32


@pytest.mark.slow
def test_clips_depend_on_number_and_seed() -> None:
    source = filmed()
    assert np.array_equal(source.clip(1)[0], source.clip(1)[0])
    assert not np.array_equal(source.path(1), source.path(2))
    assert not np.array_equal(source.path(1), filmed(seed=1).path(1))
    assert source.key() != filmed(seed=1).key()
    assert source.key() == filmed().key()


def test_stills_that_are_all_margin_are_refused() -> None:
    with pytest.raises(DataError, match="leaves nothing within margins of 32"):
        Shaken(stills=STILLS, num_frames=2, margin=32).clip(0)
