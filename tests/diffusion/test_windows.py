"""Windows make every frame once, and each begins in the one before."""

import pytest

from mutoscope.diffusion.windows import windows
from mutoscope.errors import RequestError


@pytest.mark.parametrize("num_frames", [1, 5, 8, 9, 16, 61, 121, 601])
@pytest.mark.parametrize(("size", "overlap"), [(8, 0), (8, 2), (16, 4), (5, 4)])
def test_every_frame_is_made_once(num_frames: int, size: int, overlap: int) -> None:
    made: list[int] = []
    for window in windows(num_frames, size=size, overlap=overlap):
        frames = list(range(num_frames))[window.frames]
        assert len(frames) == min(size, num_frames if overlap else num_frames - window.start)
        assert frames[: window.known] == made[len(made) - window.known :]
        assert window.known >= (overlap if made else 0)
        assert overlap or not window.known
        made += frames[window.known :]
    assert made == list(range(num_frames))


@pytest.mark.parametrize(("num_frames", "size", "overlap"), [(0, 8, 2), (9, 8, 8), (9, 8, -1)])
def test_refuses_what_never_ends(num_frames: int, size: int, overlap: int) -> None:
    with pytest.raises(RequestError, match="the overlap is less than a window"):
        windows(num_frames, size=size, overlap=overlap)
