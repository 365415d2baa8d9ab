"""Sheets of paper, the pieces of every background: sky, ridges, puffs, lights and boxes.

A sheet is a function of continuous coordinates that repeats sideways, so it can be painted at any
size and shifted by any amount. All colours are in linear light, planes first (3 H W).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Colour = NDArray[np.floating]

PERIOD = 4.0
"""After this many frame heights a sheet repeats itself."""


@dataclass(frozen=True)
class Grid:
    """The pixels to paint: centres of columns and rows in frame heights, and pixels per height."""

    x: Floats
    y: Floats
    scale: float


@dataclass(frozen=True)
class Sheet:
    """One sheet of a background.

    Attributes:
        parallax: How much of the camera's motion it shows, 0 (infinitely far) to 1 (nearest).
        drift: Its own motion to the right, frame heights per second.
        paint: Paints it over the canvas, `paint(canvas, grid, shift)`, moved right by `shift`.
        cover: Its coverage 0-1 (H W), `cover(grid, shift)`.
    """

    parallax: float
    drift: float
    paint: Callable[[Floats, Grid, float], None]
    cover: Callable[[Grid, float], Floats]


def sky(
    top: Colour,
    horizon: Colour,
    low: float,
    *,
    sun: tuple[float, float, float],
    disc: Colour,
    glow: Colour,
    spread: float,
) -> Sheet:
    """A gradient down to the height `low`, with a sun or moon at `sun` = (x, y, radius)."""
    sun_x, sun_y, radius = sun

    def paint(canvas: Floats, grid: Grid, shift: float) -> None:
        share = np.clip(grid.y / low, 0.0, 1.0)
        share = (share * share * (3 - 2 * share) * 0.5 + share * 0.5)[:, None]
        # The halo of the sun: a narrow and a wide one, each a product of two curves.
        dx, dy = grid.x - np.float32(sun_x + shift), grid.y - np.float32(sun_y)
        wide = np.exp(-((dy / spread) ** 2))[:, None] * np.exp(-((dx / spread) ** 2))
        near = 2.2 * radius
        wide += 0.8 * np.exp(-((dy / near) ** 2))[:, None] * np.exp(-((dx / near) ** 2))
        for plane, a, b, g in zip(canvas, top, horizon, glow, strict=True):
            np.multiply(wide, g, out=plane)
            plane += a + (b - a) * share
        rows = _span(grid.y, sun_y, radius + 0.03)
        columns = _span(grid.x, sun_x + shift, radius + 0.03)
        away = np.sqrt(dy[rows, None] ** 2 + dx[columns] ** 2)
        face = np.clip((radius - away) * grid.scale + 0.5, 0.0, 1.0)
        for plane, c in zip(canvas, disc, strict=True):
            patch = plane[rows, columns]
            patch += face * (c - patch)

    def cover(grid: Grid, shift: float) -> Floats:
        return np.ones((len(grid.y), len(grid.x)), np.float32)

    return Sheet(0.06, 0.0, paint, cover)


def ridge(
    height: Callable[[Floats], Floats],
    top: Colour,
    bottom: Colour,
    parallax: float,
    *,
    drift: float = 0.0,
    depth: float = 0.3,
    flank: float = 0.22,
    rim: float = 0.10,
    shadow: float = 0.22,
) -> Sheet:
    """Land or water below the curve `height(x)`.

    Args:
        height: The upper edge in frame heights; periodic.
        top: Colour along the edge.
        bottom: Colour at `depth` below it.
        parallax: See `Sheet`.
        drift: See `Sheet`.
        depth: Frame heights over which the colour runs from `top` to `bottom`.
        flank: How much lighter slopes are that face the light, and darker those that do not.
        rim: How much light the cut edge of the paper catches.
        shadow: How dark the sheet makes the one behind it along its edge.
    """

    def edge(grid: Grid, shift: float) -> tuple[Floats, Floats]:
        x = grid.x - np.float32(shift)
        step = np.float32(0.004)
        left, right = height(x - step), height(x + step)
        return (left + right) * np.float32(0.5), (right - left) / (2 * step)

    def paint(canvas: Floats, grid: Grid, shift: float) -> None:
        line, slope = edge(grid, shift)
        first = int(np.searchsorted(grid.y, float(line.min()) - 0.07))
        below = grid.y[first:, None] - line
        steep = 1.0 / np.sqrt(1.0 + slope * slope)
        below *= steep
        face = np.clip(below * np.float32(grid.scale) + 0.5, 0.0, 1.0)
        dark = np.clip(1.0 + below * np.float32(1 / 0.06), 0.0, 1.0)
        dark *= dark
        keep = (1.0 - face) * (1.0 - np.float32(shadow) * dark)
        share = np.clip(below * np.float32(1 / depth), 0.0, 1.0)
        lit = 1.0 + (share - 1.0) * (np.float32(flank) * np.tanh(slope * 1.5))
        glint = np.clip(1.0 - np.abs(below - 0.006) * np.float32(1 / 0.011), 0.0, 1.0)
        glint *= np.float32(rim) * np.clip(0.65 - slope, 0.15, 1.3)
        for plane, a, b in zip(canvas, top, bottom, strict=True):
            part = plane[first:]
            colour = share * np.float32(b - a)
            colour += a
            colour *= lit
            colour += glint
            colour *= face
            part *= keep
            part += colour

    def cover(grid: Grid, shift: float) -> Floats:
        line, slope = edge(grid, shift)
        below = (grid.y[:, None] - line) / np.sqrt(1.0 + slope * slope)
        return np.asarray(np.clip(below * grid.scale + 0.5, 0.0, 1.0))

    return Sheet(parallax, drift, paint, cover)


def blobs(
    x: Floats, y: Floats, wide: Floats, high: Floats, top: Colour, bottom: Colour, parallax: float
) -> Sheet:
    """Puffs of paper where soft ellipses overlap: clouds and trees."""
    middle, reach = float(y.mean()), float(high.max()) * 2 + float(np.ptp(y)) / 2
    foot = float((y + high).max())

    def field(grid: Grid, shift: float) -> tuple[slice, Floats]:
        rows = _span(grid.y, middle, reach)
        across = np.exp(-((_around(grid.x - x[:, None] - np.float32(shift)) / wide[:, None]) ** 2))
        down = np.exp(-(((grid.y[rows] - y[:, None]) / high[:, None]) ** 2))
        return rows, np.asarray(down.T @ across, np.float32)

    def alpha(depth: Floats, grid: Grid) -> Floats:
        # The field falls by about 1 over the mean half width at the contour.
        steepness = np.float32(grid.scale * float(high.mean()) * 1.1)
        return np.asarray(np.clip((depth - 0.6) * steepness + 0.5, 0, 1))

    def paint(canvas: Floats, grid: Grid, shift: float) -> None:
        rows, depth = field(grid, shift)
        face = alpha(depth, grid)
        glow = np.clip((foot - grid.y[rows, None]) / (2.2 * float(high.max())), 0.0, 1.0)
        body = np.clip((depth - 0.6) * 0.7, 0.0, 0.35) + 0.65
        keep = (1.0 - face) * (1.0 - 0.25 * np.clip((depth - 0.2) / 0.4, 0.0, 1.0) ** 2)
        for plane, a, b in zip(canvas, top, bottom, strict=True):
            plane[rows] *= keep
            plane[rows] += face * (b + (a - b) * glow) * body

    def cover(grid: Grid, shift: float) -> Floats:
        rows, depth = field(grid, shift)
        whole = np.zeros((len(grid.y), len(grid.x)), np.float32)
        whole[rows] = alpha(depth, grid)
        return whole

    return Sheet(parallax, 0.0, paint, cover)


def lights(
    x: Floats, y: Floats, radius: Floats, strength: Floats, colour: Colour, parallax: float
) -> Sheet:
    """Soft points of light added to what is behind: stars, lamps, sparkle."""
    low, high = float(y.min() - 3 * radius.max()), float(y.max() + 3 * radius.max())

    def field(grid: Grid, shift: float) -> tuple[slice, Floats]:
        rows = _span(grid.y, (low + high) / 2, (high - low) / 2)
        # A point smaller than a pixel keeps its light: it is spread over the pixel.
        wide = np.maximum(radius, np.float32(0.45 / grid.scale))[:, None]
        power = (strength * (radius / wide[:, 0]) ** 2)[:, None]
        across = np.exp(-((_around(grid.x - x[:, None] - np.float32(shift)) / wide) ** 2))
        down = np.exp(-(((grid.y[rows] - y[:, None]) / wide) ** 2)) * power
        return rows, np.asarray(down.T @ across, np.float32)

    def paint(canvas: Floats, grid: Grid, shift: float) -> None:
        rows, field_ = field(grid, shift)
        for plane, c in zip(canvas, colour, strict=True):
            plane[rows] += field_ * c

    def cover(grid: Grid, shift: float) -> Floats:
        rows, field_ = field(grid, shift)
        whole = np.zeros((len(grid.y), len(grid.x)), np.float32)
        whole[rows] = np.clip(field_ * 4.0, 0.0, 1.0)
        return whole

    return Sheet(parallax, 0.0, paint, cover)


def boxes(
    left: Floats,
    right: Floats,
    top: Floats,
    bottom: Floats,
    paints: Floats,
    parallax: float,
    *,
    shadow: float = 0.0,
    fade: float = 0.0,
) -> Sheet:
    """Upright rectangles that do not overlap, each of its own colour (N 3): houses and windows."""
    first_row = float(top.min()) - 0.06

    def field(grid: Grid, shift: float) -> tuple[slice, Floats, Floats]:
        rows = slice(int(np.searchsorted(grid.y, first_row)), len(grid.y))
        half = ((right - left) / 2)[:, None]
        away = np.abs(_around(grid.x - ((left + right) / 2)[:, None] - np.float32(shift)))
        across = np.clip((half - away) * grid.scale + 0.5, 0.0, 1.0)
        y = grid.y[rows]
        down = np.clip((y - top[:, None]) * grid.scale + 0.5, 0.0, 1.0)
        down *= np.clip((bottom[:, None] - y) * grid.scale + 0.5, 0.0, 1.0)
        return rows, across.astype(np.float32), down.astype(np.float32)

    def paint(canvas: Floats, grid: Grid, shift: float) -> None:
        rows, across, down = field(grid, shift)
        face = np.minimum(down.T @ across, 1.0)
        keep = 1.0 - face
        if shadow:
            above = np.clip(1.0 - (top[:, None] - grid.y[rows]) / 0.06, 0.0, 1.0) ** 2
            keep *= 1.0 - shadow * np.minimum(above.astype(np.float32).T @ across, 1.0)
        haze = (1.0 - fade * np.clip((grid.y[rows] - first_row) / 0.5, 0.0, 1.0))[:, None]
        for plane, colour in zip(canvas, paints.T, strict=True):
            plane[rows] *= keep
            plane[rows] += (down * colour[:, None]).T @ across * haze

    def cover(grid: Grid, shift: float) -> Floats:
        rows, across, down = field(grid, shift)
        whole = np.zeros((len(grid.y), len(grid.x)), np.float32)
        whole[rows] = np.minimum(down.T @ across, 1.0)
        return whole

    return Sheet(parallax, 0.0, paint, cover)


def _span(axis: Floats, middle: float, reach: float) -> slice:
    """The part of a sorted axis within `reach` of `middle`."""
    ends = np.searchsorted(axis, (middle - reach, middle + reach))
    return slice(int(ends[0]), int(ends[1]))


def _around(x: Floats) -> Floats:
    """Distances sideways on the repeating sheet: the nearest copy counts."""
    return np.asarray(x - PERIOD * np.round(x / PERIOD), np.float32)
