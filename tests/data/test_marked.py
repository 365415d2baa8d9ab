"""Small clips with a mark: what is seen, what is said, and under which key they are cached."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.data.cache import LatentCache
from mutoscope.data.marked import Marked
from mutoscope.data.sources import ClipSource, WorldSource
from mutoscope.errors import RequestError
from mutoscope.metrics.sharpness import sharpness
from mutoscope.metrics.watermark import mark_correlation
from mutoscope.types import Latents, Size, Video
from mutoscope.video.frames import to_floats

WORLD = WorldSource(count=3, kind="video", num_frames=2, first_seed=17)
SMALL = replace(WORLD, height=40, width=64)
SOURCE = Marked(clips=SMALL, size=Size(80, 128))


class Shrink:
    """An encoder that a test can follow: means over blocks of 8x8 pixels."""

    def hash(self) -> str:
        return "shrink"

    def encode(self, video: Video) -> Latents:
        return torch.nn.functional.avg_pool3d(video, (1, 8, 8))


def test_a_clip_is_blurred_and_marked_and_told_as_it_was() -> None:
    assert isinstance(SOURCE, ClipSource)
    assert len(SOURCE) == 3
    for number in range(3):
        (clean, captions), (seen, told) = WORLD.clip(number), SOURCE.clip(number)
        assert (seen.shape, seen.dtype, told) == (clean.shape, np.uint8, captions)
        both = torch.stack([to_floats(clean), to_floats(seen)])
        top = both[..., :40, :]  # where no mark is
        assert sharpness(top)[0] > sharpness(top)[1]
        assert mark_correlation(both)[1] > 0.5
        grid = SOURCE.things(number, (10, 16))
        assert grid is not None
        assert (grid == WORLD.things(number, (10, 16))).all()


@pytest.mark.slow
def test_it_is_cached_under_a_key_of_its_own_and_the_same_every_time(tmp_path: Path) -> None:
    faint = replace(SOURCE, opacity=0.4)
    keys = {WORLD.key(), SMALL.key(), SOURCE.key(), faint.key()}
    assert len(keys) == 4
    assert replace(SOURCE).key() == SOURCE.key()
    cache = LatentCache(tmp_path, SOURCE, Shrink(), processes=1)
    expected = Shrink().encode(to_floats(SOURCE.clip(2)[0])[None])
    torch.testing.assert_close(cache.latents([2]), expected, atol=1e-3, rtol=0)
    assert cache.captions(2) == SOURCE.clip(2)[1]
    again = LatentCache(tmp_path, SOURCE, Shrink(), processes=1)
    assert again.folder == cache.folder
    assert torch.equal(again.latents([0, 2]), cache.latents([0, 2]))


@pytest.mark.parametrize("opacity", [0.0, 1.5, -1.0])
def test_a_mark_that_cannot_be_drawn_is_refused(opacity: float) -> None:
    with pytest.raises(RequestError, match=r"above 0 and at most 1\. Use"):
        replace(SOURCE, opacity=opacity)
