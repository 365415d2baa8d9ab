"""A watermark: white letters, half transparent, at a fixed place of every frame."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from mutoscope.types import Size
from mutoscope.video.frames import Frames

# Letters of 3x5 cells, one cell apart: what stock libraries write over their previews.
_STOCK = (
    "### ### ### ### # #",
    "#    #  # # #   # #",
    "###  #  # # #   ## ",
    "  #  #  # # #   # #",
    "###  #  ### ### # #",
)
_CELLS_HIGH = 26  # so a cell of a frame of 80 pixels is 3: the f8 autoencoder keeps such strokes


def mark(size: Size) -> Float[ndarray, "H W"]:
    """Where the letters are: 1 on their strokes, 0 elsewhere; middle of the lower half.

    Args:
        size: Of the frame; the mark is about a fifth of its height, and never less than 5 pixels.
    """
    cell = max(1, size.height // _CELLS_HIGH)
    strokes = np.array([[letter == "#" for letter in row] for row in _STOCK], np.float32)
    letters = strokes.repeat(cell, axis=0).repeat(cell, axis=1)[: size.height, : size.width]
    height, width = letters.shape
    place = np.zeros((size.height, size.width), np.float32)
    top = min(3 * size.height // 4 - height // 2, size.height - height)
    left = (size.width - width) // 2
    place[top : top + height, left : left + width] = letters
    return place


def marked(frames: Frames, *, opacity: float) -> Frames:
    """The frames with the mark over them.

    Args:
        frames: One clip, F H W 3.
        opacity: Of the white, from 0 (no mark) to 1 (nothing seen through it).
    """
    height, width = frames.shape[1:3]
    white = opacity * mark(Size(height, width))[None, :, :, None]
    shown: Frames = np.rint((1 - white) * frames + 255 * white).astype(np.uint8)
    return shown
