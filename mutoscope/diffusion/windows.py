"""Windows: a video of any length is made a stretch at a time, each beginning in the one before."""

from dataclasses import dataclass

from mutoscope.errors import RequestError


@dataclass(frozen=True)
class Window:
    """Frames `start` to `stop` of a video, of which the first `known` are finished already."""

    start: int
    stop: int
    known: int

    @property
    def frames(self) -> slice:
        """All its frames."""
        return slice(self.start, self.stop)


def windows(num_frames: int, *, size: int, overlap: int) -> list[Window]:
    """The windows that make a video, one after the other.

    All have `size` frames, for which the network was trained, but in a video shorter than that.
    The last one reaches back as far as it takes, so it may begin with more frames that are known.
    With an overlap of 0, for a network that cannot begin with known frames, it is shorter instead.

    Args:
        num_frames: Frames of the video, 1 or more.
        size: Frames of a window.
        overlap: Least number of finished frames that a window begins with, less than `size`.

    Raises:
        RequestError: There is nothing to make, or windows that never move on.
    """
    if num_frames < 1 or not 0 <= overlap < size:
        raise RequestError(
            f"{num_frames} frames cannot be made in windows of {size} with an overlap of "
            f"{overlap}: there is one frame or more, and the overlap is less than a window. Use "
            "e.g. windows of 16 with an overlap of 4."
        )
    result = [Window(0, min(size, num_frames), 0)]
    while result[-1].stop < num_frames:
        done = result[-1].stop
        stop = min(done - overlap + size, num_frames)
        start = stop - size if overlap else done
        result.append(Window(start, stop, done - start))
    return result
