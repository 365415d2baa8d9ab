"""Frames on their way into a file, and what is found out about them as they pass."""

from collections.abc import Iterable, Iterator

from mutoscope.metrics.health import Health
from mutoscope.video.frames import Fingerprint, Footage, Frame
from mutoscope.video.sheets import shown


class Passing:
    """Frames that are looked at one after the other, once, and not kept.

    Args:
        frames: uint8 H W 3, made while they are taken.
        num_frames: How many there will be.
        for_sheet: Whether those that a contact sheet shows are kept.

    Attributes:
        health: What is wrong with the frames that have passed.
        kept: Frames for a contact sheet.
    """

    def __init__(self, frames: Iterable[Frame], num_frames: int, *, for_sheet: bool = False):
        self.health = Health()
        self.kept: list[Frame] = []
        self._frames = frames
        self._fingerprint = Fingerprint(num_frames)
        self._on_sheet = set(shown(num_frames)) if for_sheet else set()

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(self._frames):
            self._fingerprint.add(frame)
            self.health.add(frame)
            if number in self._on_sheet:
                self.kept.append(frame.copy())  # a frame alone, not the piece that it was part of
            yield frame

    def sha256(self) -> str:
        """The fingerprint of all frames, which must have passed."""
        return self._fingerprint.hexadecimal()


class Watched:
    """Given frames that are looked at as they are taken.

    Args:
        frames: A whole video.

    Attributes:
        shape: Of the video: F, H, W and 3.
        health: What is wrong with the frames that were taken.
    """

    def __init__(self, frames: Footage) -> None:
        self.shape = frames.shape
        self.health = Health()
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.health.add(frame)
            yield frame
