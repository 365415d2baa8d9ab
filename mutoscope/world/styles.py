"""The image-only styles: a picture becomes a drawing, coarse pixels or glowing lines."""

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Floats = NDArray[np.floating]


def restyle(frame: Frame, style: str) -> Frame:
    """A frame (H W 3, uint8) in one of `STYLES`; "none" gives it back unchanged.

    Every style keeps hues, so that colours can still be named, and works in parts of the height,
    so that it looks alike at all sizes.
    """
    if style == "none":
        return frame
    picture = frame.astype(np.float32) / np.float32(255.0)
    styled = {"pencil sketch": _pencil, "pixel art": _pixels, "neon": _neon}[style](picture)
    return np.asarray(np.rint(np.clip(styled, 0.0, 1.0) * 255.0), np.uint8)


def _pencil(picture: Floats) -> Floats:
    """Pale crayon on paper, with outlines and slanted hatching where the picture is dark."""
    height, width, _ = picture.shape
    grey = picture.mean(-1, keepdims=True)
    y, x = np.mgrid[:height, :width] / np.float32(height)
    slant = (x + y)[..., None]
    hatch = 0.5 + 0.5 * np.cos(slant * np.float32(2 * np.pi * 22))
    paper = np.array([0.97, 0.955, 0.92], np.float32)
    chroma = picture - grey
    tone = 0.93 - 0.22 * (1.0 - grey) * hatch
    return np.asarray(tone * paper + chroma * 0.75 - 0.75 * _edges(picture))


def _pixels(picture: Floats) -> Floats:
    """Blocks of a twenty-seventh of the height in six levels of each primary."""
    height, width, _ = picture.shape
    block = max(1, round(height / 27))
    rows, columns = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(np.add.reduceat(picture, rows, 0), columns, 1)
    tall = np.diff(np.append(rows, height))[:, None, None]
    wide = np.diff(np.append(columns, width))[None, :, None]
    small = np.rint(sums / (tall * wide) * 5.0) / 5.0
    return np.repeat(np.repeat(small, tall[:, 0, 0], 0), wide[0, :, 0], 1)


def _neon(picture: Floats) -> Floats:
    """A dark room in which every outline glows in the colour of what it bounds."""
    edges = np.clip(_edges(picture) * 1.2, 0.0, 1.0)
    vivid = picture / (picture.max(-1, keepdims=True) + 0.05)
    strength = np.ptp(picture, -1)[..., None]
    body = picture * np.array([0.20, 0.18, 0.26], np.float32) * (1.0 + 1.6 * strength)
    return np.asarray(body + edges * (0.10 + 0.95 * vivid))


def _edges(picture: Floats) -> Floats:
    """How fast the picture changes, about 0-1, over a distance of a fortieth of the height."""
    step = max(1, round(picture.shape[0] / 80))
    padded = np.pad(picture, ((step, step), (step, step), (0, 0)), mode="edge")
    across = padded[step:-step, 2 * step :] - padded[step:-step, : -2 * step]
    down = padded[2 * step :, step:-step] - padded[: -2 * step, step:-step]
    return np.asarray(np.sqrt((across**2 + down**2).sum(-1, keepdims=True)), np.float32)
