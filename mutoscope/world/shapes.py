"""Signed distances to the shapes: negative inside, in diameters, for a thing of diameter 1.

y grows downwards. Every shape lies within the circle of radius `factors.OUTLINE`, and no distance
grows faster than the point moves, so a distance divided by the pixel gives the coverage.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def circle(x: Floats, y: Floats) -> Floats:
    """A disc."""
    return np.sqrt(x * x + y * y) - 0.5


def square(x: Floats, y: Floats) -> Floats:
    """A square with its corners rounded a little."""
    return _box(x, y, 0.40, 0.40) - 0.035


def triangle(x: Floats, y: Floats) -> Floats:
    """An equilateral triangle standing on its base."""
    across, up = np.abs(x), y - 0.10
    slant = across * math.cos(math.pi / 6) - up * math.sin(math.pi / 6)
    return np.asarray(np.maximum(slant, up) - 0.275)


def star(x: Floats, y: Floats) -> Floats:
    """A star of five points, one up."""
    outer, inner = 0.58, 0.285
    sector = 2 * math.pi / 5
    # Fold the plane onto half of one point.
    angle = np.arctan2(x, 0.03 - y)
    angle = np.abs(angle - sector * np.round(angle / sector))
    radius = np.sqrt(x * x + (y - 0.03) ** 2)
    qx, qy = radius * np.sin(angle), radius * np.cos(angle)
    # The edge runs from the tip (0, outer) to the notch at 36 degrees.
    nx, ny = inner * math.sin(math.pi / 5), inner * math.cos(math.pi / 5)
    length = math.hypot(nx, ny - outer)
    return np.asarray(((qy - outer) * nx - qx * (ny - outer)) / length)


def heart(x: Floats, y: Floats) -> Floats:
    """A heart, point down."""
    # Inigo Quilez, "2D distance functions", heart; there 1 high with its point at the origin.
    scale = 0.88
    px, py = np.abs(x) / scale, (0.5 - y) / scale
    lobe = np.sqrt((px - 0.25) ** 2 + (py - 0.75) ** 2) - math.sqrt(2) / 4
    half = 0.5 * np.maximum(px + py, 0.0)
    low = np.minimum(px * px + (py - 1.0) ** 2, (px - half) ** 2 + (py - half) ** 2)
    body = np.sqrt(low) * np.sign(px - py)
    return np.where(px + py > 1.0, lobe, body) * scale


def ring(x: Floats, y: Floats) -> Floats:
    """A ring with a hole of half its width."""
    return np.abs(np.sqrt(x * x + y * y) - 0.36) - 0.14


def cross(x: Floats, y: Floats) -> Floats:
    """An upright cross of equal arms."""
    return np.minimum(_box(x, y, 0.46, 0.135), _box(x, y, 0.135, 0.46)) - 0.03


def crescent(x: Floats, y: Floats) -> Floats:
    """A crescent open to the right."""
    # A disc less a second one; beyond the tips the tip itself is nearest (Inigo Quilez, "moon").
    outer, inner, apart = 0.52, 0.42, 0.23
    px, py = x - 0.04, np.abs(y)
    tip_x = (outer**2 - inner**2 + apart**2) / (2 * apart)
    tip_y = math.sqrt(outer**2 - tip_x**2)
    disc = np.sqrt(px * px + py * py) - outer
    bite = inner - np.sqrt((px - apart) ** 2 + py * py)
    tip = np.sqrt((px - tip_x) ** 2 + (py - tip_y) ** 2)
    beyond = px * tip_y - py * tip_x > apart * np.maximum(tip_y - py, 0.0)
    return np.where(beyond, tip, np.maximum(disc, bite))


def flower(x: Floats, y: Floats) -> Floats:
    """Five round petals."""
    sector = 2 * math.pi / 5
    angle = np.arctan2(x, -y)
    angle = angle - sector * np.round(angle / sector)
    radius = np.sqrt(x * x + y * y)
    out, side = radius * np.cos(angle) - 0.32, radius * np.sin(angle)
    petal = np.sqrt(side**2 + out**2) - 0.205
    return np.asarray(np.minimum(petal, radius - 0.2))


def arrow(x: Floats, y: Floats) -> Floats:
    """An arrow pointing to the right."""
    shaft = _box(x + 0.22, y, 0.28, 0.13)
    across, along = np.abs(y), x - 0.02
    head = np.maximum((along + across - 0.5) * math.sqrt(0.5), -along)
    return np.asarray(np.minimum(shaft, head))


def hourglass(x: Floats, y: Floats) -> Floats:
    """Two triangles, tip to tip."""
    across, up = np.abs(x), np.abs(y)
    return np.asarray(np.maximum((across - 0.75 * up - 0.07) * 0.8, up - 0.43))


DISTANCE: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "heart": heart,
    "ring": ring,
    "cross": cross,
    "crescent": crescent,
    "flower": flower,
    "arrow": arrow,
    "hourglass": hourglass,
}
"""The distance function of each shape."""


def _box(x: Floats, y: Floats, half_width: float, half_height: float) -> Floats:
    """Distance to a rectangle around the origin."""
    dx, dy = np.abs(x) - half_width, np.abs(y) - half_height
    outside = np.sqrt(np.maximum(dx, 0.0) ** 2 + np.maximum(dy, 0.0) ** 2)
    return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0.0))
