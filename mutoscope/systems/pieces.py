"""Pieces: frames that come a few at a time, so that a long video is never there as a whole."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8

Piece = UInt8[np.ndarray, "B f H W 3"]
"""A few frames of one or several videos; pieces that follow each other are whole videos."""


def joined(pieces: Iterable[Piece], num_frames: int) -> UInt8[np.ndarray, "B F H W 3"]:
    """Whole videos.

    Args:
        pieces: All of their pieces, at least one.
        num_frames: Frames of all pieces together.
    """
    done, whole = 0, None
    for piece in pieces:
        if whole is None:
            whole = np.empty((len(piece), num_frames, *piece.shape[2:]), np.uint8)
        whole[:, done : done + piece.shape[1]] = piece
        done += piece.shape[1]
    assert whole is not None
    assert done == num_frames
    return whole


class Stretches:
    """Any stretch of frames out of pieces, of which none begins before the one asked for last.

    Held is the last stretch, and what of its last piece lies beyond it.

    Args:
        pieces: All of the videos; taken as they are needed.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)
        self._held: list[Piece] = []
        self._start = 0

    def __call__(self, frames: slice) -> Piece:
        """The frames `frames.start` to `frames.stop`."""
        while self._held and self._start + self._held[0].shape[1] <= frames.start:
            self._start += self._held.pop(0).shape[1]
        while self._start + sum(piece.shape[1] for piece in self._held) < frames.stop:
            self._held.append(next(self._pieces))
        there = np.concatenate(self._held, axis=1)
        return there[:, frames.start - self._start : frames.stop - self._start]
