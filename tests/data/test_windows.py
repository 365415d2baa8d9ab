"""Windows of cached clips: true cut-outs, anywhere in the clip, the same for the same number."""

import pytest
import torch

from mutoscope.data.batches import shuffled
from mutoscope.data.cache import LatentCache
from mutoscope.data.sources import WorldSource
from mutoscope.data.windows import WindowBatches
from mutoscope.encoding.codec import LatentCodec
from mutoscope.errors import RequestError
from mutoscope.systems.lavie import LaVie


@pytest.fixture(scope="module")
def cache(tiny_system: LaVie, tmp_path_factory: pytest.TempPathFactory) -> LatentCache:
    """Five clips of 9 frames of 4x6 cells."""
    source = WorldSource(count=5, kind="video", num_frames=9, fps=32.0, height=8, width=12)
    folder = tmp_path_factory.mktemp("cache")
    return LatentCache(folder, source, LatentCodec(tiny_system.vae), processes=1)


def batches(cache: LatentCache, seed: int = 0, **size: int) -> WindowBatches:
    window = {"num_frames": 5, "height": 3, "width": 4} | size
    return WindowBatches(cache=cache, batch_size=2, seed=seed, **window)


def place(cache: LatentCache, member: int, window: torch.Tensor) -> tuple[int, int, int]:
    """Frame, row and column at which a window lies in its clip."""
    pieces = cache.latents([member])[0].unfold(1, 5, 1).unfold(2, 3, 1).unfold(3, 4, 1)
    same = (pieces == window[:, None, None, None]).flatten(4).all(dim=4).all(dim=0)
    ((frame, row, column),) = same.nonzero().tolist()
    return frame, row, column


@pytest.mark.slow
def test_windows_are_cut_out_of_their_clips_all_over_them(cache: LatentCache) -> None:
    places = []
    for number in range(60):
        batch = batches(cache)(number)
        assert batch.latents is not None
        assert batch.latents.shape == (2, 4, 5, 3, 4)
        for row, member in enumerate(shuffled(5, 2, number, seed=0)):
            places.append(place(cache, member, batch.latents[row]))
            assert batch.captions[row] in cache.captions(member)
    frames, rows, columns = (set(each) for each in zip(*places, strict=True))
    assert (frames, rows, columns) == ({0, 1, 2, 3, 4}, {0, 1}, {0, 1, 2})
    # The windows of one batch do not share their place.
    assert any(one != other for one, other in zip(places[::2], places[1::2], strict=True))


def test_half_of_the_windows_run_backwards_if_asked(cache: LatentCache) -> None:
    both = WindowBatches(
        cache=cache, batch_size=2, num_frames=9, height=4, width=6, seed=0, backwards=0.5
    )
    turned = []
    for number in range(20):
        found = both(number).latents
        assert found is not None
        for window, member in zip(found, shuffled(5, 2, number, seed=0), strict=True):
            clip = cache.latents([member])[0]
            turned.append(torch.equal(window, clip.flip(1)))
            assert turned[-1] or torch.equal(window, clip)
    assert 10 < sum(turned) < 30


def test_a_batch_depends_on_its_number_and_seed_alone(cache: LatentCache) -> None:
    one = batches(cache)
    later = one(7).latents
    one(2)
    again = one(7)
    assert later is not None
    assert again.latents is not None
    assert torch.equal(again.latents, later)
    assert again.captions == batches(cache)(7).captions
    other = batches(cache, seed=1)(7).latents
    assert other is not None
    assert not torch.equal(other, later)


def test_a_window_as_large_as_the_clip_is_the_clip(cache: LatentCache) -> None:
    whole = batches(cache, num_frames=9, height=4, width=6)(0).latents
    assert whole is not None
    assert torch.equal(whole, cache.latents([0, 1]))


def test_windows_larger_than_the_clips_are_refused(cache: LatentCache) -> None:
    with pytest.raises(RequestError, match="10 frames of 3x4 cells cannot be cut from clips of 9"):
        batches(cache, num_frames=10)(0)
