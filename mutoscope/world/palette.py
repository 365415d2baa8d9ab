"""The colours of things and of backgrounds, and how far apart they look (CIELAB)."""

import numpy as np
from numpy.typing import NDArray

from mutoscope.world.factors import BACKGROUNDS, COLOURS

Floats = NDArray[np.floating]


def rgb(code: str) -> tuple[int, int, int]:
    """`"d62828"` as three integers 0-255."""
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


INK = {
    "red": rgb("d8202c"),
    "orange": rgb("f7801e"),
    "yellow": rgb("fbdc2e"),
    "green": rgb("1fa04a"),
    "blue": rgb("1f57d6"),
    "purple": rgb("9230b4"),
    "pink": rgb("f983b8"),
    "white": rgb("f1f1ee"),
}
"""sRGB of each colour name; a plain thing shows it over most of its face."""

# From the top of the picture to its bottom: the sky at the top, the sky at the horizon, and each
# layer of land from far to near. The seed shifts all of one background together, and only a little.
LAYER_COLOURS = {
    "sea": ("3f8cbf", "e9b98c", "6fb3b6", "4c9aa8", "348093", "23687f", "17506a"),
    "night": ("0a0e2c", "434c86", "2c3468", "1c2350", "10153a"),
    "dunes": ("5a8fb4", "e2bd92", "d9ad7c", "c88f58", "ad6f3e", "8f5630"),
    "meadow": ("5c9fce", "92bccb", "93b5a0", "a3c36a", "83ae4c", "5f9438"),
    "city": ("2e2a5c", "dd8560", "74507f", "493766", "241d42"),
    "snow": ("6f98bf", "bccbdb", "9db4cc", "d3dfeb", "e6eef6", "f4f8fc"),
}

MIN_CONTRAST = 25.0
"""Least CIELAB distance (1976) between a thing and every part of the background it may cross."""


def to_linear(srgb: NDArray[np.generic] | tuple[int, int, int]) -> Floats:
    """sRGB 0-255 to linear light 0-1 (IEC 61966-2-1)."""
    unit = np.asarray(srgb, np.float64) / 255.0
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear, np.float32)


def to_srgb(linear: NDArray[np.generic]) -> NDArray[np.float64]:
    """Linear light 0-1 to sRGB 0-255, not rounded (IEC 61966-2-1)."""
    light = np.clip(np.asarray(linear, np.float64), 0.0, 1.0)
    unit = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return unit * 255.0


def lab(srgb: NDArray[np.generic] | tuple[int, int, int]) -> NDArray[np.float64]:
    """sRGB 0-255 (..., 3) to CIELAB under D65."""
    matrix = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_linear(srgb).astype(np.float64) @ matrix.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _contrast_table() -> dict[tuple[str, str], float]:
    table = {}
    for background in BACKGROUNDS:
        bands = lab(np.array([rgb(code) for code in LAYER_COLOURS[background]]))
        for colour in COLOURS:
            apart = np.linalg.norm(bands - lab(INK[colour]), axis=-1)
            table[colour, background] = float(apart.min())
    return table


CONTRAST = _contrast_table()
"""CIELAB distance of (colour, background) where they come closest."""
