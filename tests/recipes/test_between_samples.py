"""What counts of a clip whose true motion nobody knows."""

from dataclasses import dataclass

import numpy as np

from mutoscope.recipes.between_samples import source_examples
from mutoscope.video.frames import Frames


@dataclass(frozen=True)
class OneClip:
    frames: Frames

    def __len__(self) -> int:
        return 1

    def clip(self, index: int) -> tuple[Frames, tuple[str, ...]]:
        return self.frames, ("a bar",)

    def key(self) -> str:
        return "one"

    def things(self, index: int, grid: tuple[int, int]) -> None:
        return None


def test_what_changes_from_key_frame_to_key_frame_counts() -> None:
    frames = np.full((9, 6, 8, 3), 50, np.uint8)
    frames[:, 1] += np.arange(9, dtype=np.uint8)[:, None, None]  # too little to count
    frames[4:, 2:4, 5] = 200  # there from the second key frame on
    (example,) = source_examples(OneClip(frames), 4, factor=4)
    changing = example.regions["changing"]
    assert example.regions["frame"].all()
    expected = np.zeros((9, 6, 8), bool)
    expected[:4, 2:4, 5] = True  # from the first key frame to the second
    assert np.array_equal(changing.numpy(), expected)
