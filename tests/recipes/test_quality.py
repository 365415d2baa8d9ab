"""The filters keep clips that are sharp and whose captions fit them."""

from pathlib import Path

import numpy as np
import pytest

import mutoscope
from mutoscope.data.cache import LatentCache
from mutoscope.data.marked import Marked
from mutoscope.data.sources import Frames, WorldSource
from mutoscope.errors import RequestError
from mutoscope.recipes.parents import load_codec, load_reader, load_text
from mutoscope.recipes.quality import Judge, alignment, best, chosen_clips, load_contrast
from mutoscope.types import Size

SHIPPED = Path(mutoscope.__file__).parent / "mini"
CLIPS = 12
ODD = WorldSource(count=CLIPS, kind="video", num_frames=16, split="test", first_seed=900_000)


class Rough:
    """The world as the web would have it: of three clips one is blurred, one is told wrongly."""

    def __len__(self) -> int:
        return CLIPS

    def key(self) -> str:
        return "rough"

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        frames, captions = ODD.clip(index)
        if index % 3 == 1:
            small = WorldSource(
                count=CLIPS,
                kind="video",
                num_frames=16,
                split="test",
                first_seed=900_000,
                height=20,
                width=32,
            )
            frames, _ = Marked(clips=small, size=Size(80, 128), opacity=0.01).clip(index)
        if index % 3 == 2:
            captions = ODD.clip((index + 5) % CLIPS)[1]
        return frames, captions

    def things(self, index: int, grid: tuple[int, int]) -> None:
        return None


def test_the_worse_of_two_ranks_decides() -> None:
    sharp, fitting = np.array([5.0, 1, 4, 3, 2]), np.array([1.0, 5, 4, 2, 3])
    assert best([sharp, fitting], 1) == (2,)
    assert best([sharp, fitting], 3) == (2, 3, 4)
    assert best([np.zeros(4)], 2) == best([np.zeros(4)], 2)
    for count in (0, 6):
        with pytest.raises(RequestError, match=f"{count} clips cannot be chosen from 5"):
            best([sharp, fitting], count)


@pytest.mark.slow
def test_blurred_and_wrongly_told_clips_are_left_out(tmp_path: Path) -> None:
    text, oracle = load_text(SHIPPED, "cpu"), load_reader(SHIPPED, "cpu")
    head, judge = load_contrast(SHIPPED, text, oracle), Judge(oracle, 8.0)
    source = Rough()
    clips = LatentCache(tmp_path, source, load_codec(SHIPPED, "cpu"), processes=1)
    seen = LatentCache(tmp_path / "cache", source, judge, processes=1)
    fits = alignment(text, head, seen)
    assert fits[2::3].mean() < fits[0::3].mean() - 0.1
    kept = chosen_clips(clips, source, text=text, head=head, judge=judge, count=3, work=tmp_path)
    assert len(kept) == 3
    assert {number % 3 for number in kept.numbers} == {0}  # by chance one in 55
    again = chosen_clips(clips, source, text=text, head=head, judge=judge, count=3, work=tmp_path)
    assert again.numbers == kept.numbers
    assert kept.captions(0) == source.clip(kept.numbers[0])[1]
