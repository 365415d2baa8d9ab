"""The six backgrounds: sheets of paper one behind the other, lit from the top left."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mutoscope.world.factors import ASPECT
from mutoscope.world.palette import LAYER_COLOURS, rgb, to_linear
from mutoscope.world.sheets import PERIOD, Colour, Floats, Sheet, blobs, boxes, lights, ridge, sky
from mutoscope.world.splits import Draws

Curve = Callable[[Floats], Floats]


def build(background: str, look: int) -> tuple[Sheet, ...]:
    """The sheets of a background from the farthest to the nearest.

    Args:
        background: One of `BACKGROUNDS`.
        look: Seed of all that varies within it.
    """
    draws = Draws("background", background, look)
    warmth = draws.between(-1.0, 1.0)
    tint = np.array([1.0 + 0.06 * warmth, 1.0, 1.0 - 0.06 * warmth], np.float32)
    light = draws.between(0.94, 1.06)
    codes = LAYER_COLOURS[background]
    colours = [to_linear(rgb(code)) * tint * np.float32(light) for code in codes]
    return _BUILDERS[background](draws, colours)


def _waves(
    draws: Draws, base: float, parts: tuple[tuple[int, float], ...], sharpness: float = 0.0
) -> Curve:
    """A periodic curve around `base`: (cycles per period, amplitude) each with a random phase.

    Args:
        draws: Gives the phases.
        base: Mean height.
        parts: Whole numbers of cycles, so that the curve closes; amplitudes in frame heights.
        sharpness: 0 for sines; towards 1 the crests lean to the right like dunes.
    """
    turns = np.array([2 * math.pi * cycles / PERIOD for cycles, _ in parts], np.float32)
    sizes = [amplitude * draws.between(0.8, 1.2) for _, amplitude in parts]
    phases = [draws.between(0.0, 2 * math.pi) for _ in parts]

    def height(x: Floats) -> Floats:
        total = np.full(x.shape, base, np.float32)
        for turn, size, phase in zip(turns, sizes, phases, strict=True):
            angle = turn * x + np.float32(phase)
            if sharpness:
                angle = angle + np.float32(sharpness) * np.sin(angle)
            total -= np.float32(size) * np.sin(angle)
        return total

    return height


def _forest(draws: Draws, ground: Callable[[Floats], Floats], tall: float) -> Curve:
    """The curve `ground` with firs standing on it: cones of differing height."""
    count = 46
    tops = (tall * (0.25 + 0.75 * draws.many(count) ** 1.5)).astype(np.float32)
    tops[draws.many(count) < 0.3] = 0.0
    pitch = np.float32(PERIOD / count)

    def height(x: Floats) -> Floats:
        place = np.mod(x, np.float32(PERIOD)) / pitch
        index = place.astype(np.int64) % count
        inside = 1.0 - np.abs(place - np.floor(place) - 0.5) * 2.0
        return ground(x) - tops[index] * inside

    return height


def _scatter(draws: Draws, count: int, low: float, high: float) -> tuple[Floats, Floats]:
    """Points over one period, between two heights."""
    x = (draws.many(count) + np.arange(count)) / count * PERIOD
    y = low + (high - low) * draws.many(count)
    return x.astype(np.float32), y.astype(np.float32)


def _sun(draws: Draws, low: float, high: float, radius: float) -> tuple[float, float, float]:
    """A place for the sun or the moon in the upper sky."""
    return draws.between(0.2, ASPECT - 0.2), draws.between(low, high), radius


def _clouds(draws: Draws, count: int, light: Colour, shade: Colour, high: float) -> Sheet:
    """A few puffy clouds in the upper sky."""
    x, y = _scatter(draws, count, 0.08, high)
    offsets = ((-0.10, 0.012, 0.6), (0.0, -0.012, 1.0), (0.10, 0.01, 0.7), (0.05, -0.02, 0.8))
    size = 0.7 + 0.6 * draws.many(count)
    xs = np.concatenate([x + dx * size for dx, _, _ in offsets]).astype(np.float32)
    ys = np.concatenate([y + dy * size for _, dy, _ in offsets]).astype(np.float32)
    wide = np.concatenate([0.085 * size * part for _, _, part in offsets]).astype(np.float32)
    return blobs(xs, ys, wide, (wide * 0.45).astype(np.float32), light, shade, 0.14)


def _sea(draws: Draws, colours: list[Colour]) -> tuple[Sheet, ...]:
    heaven = sky(
        colours[0],
        colours[1],
        0.5,
        sun=_sun(draws, 0.26, 0.38, 0.062),
        disc=to_linear(rgb("fff0c8")),
        glow=to_linear(rgb("8a5a30")),
        spread=0.42,
    )
    sheets = [heaven, _clouds(draws, 5, to_linear(rgb("d9d3cf")), to_linear(rgb("b7a6a8")), 0.24)]
    levels = (0.50, 0.57, 0.66, 0.77, 0.89)
    for index, level in enumerate(levels):
        size = 0.008 + 0.007 * index
        parts = ((14 - 2 * index, size), (23 - 3 * index, 0.45 * size))
        way = 1.0 if index % 2 else -1.0
        sheets.append(
            ridge(
                _waves(draws, level, parts, 0.5),
                colours[2 + index],
                colours[2 + index] * 0.72,
                0.3 + 0.175 * index,
                drift=way * (0.05 + 0.02 * index),
                depth=0.16,
                flank=0.30,
                rim=0.16 + 0.05 * index,
            )
        )
    return tuple(sheets)


def _night(draws: Draws, colours: list[Colour]) -> tuple[Sheet, ...]:
    heaven = sky(
        colours[0],
        colours[1],
        0.72,
        sun=_sun(draws, 0.14, 0.26, 0.06),
        disc=to_linear(rgb("f6eecb")),
        glow=to_linear(rgb("3a4470")),
        spread=0.34,
    )
    x, y = _scatter(draws, 150, 0.0, 0.66)
    size = draws.many(150)
    radius = (0.0045 + 0.006 * size**3).astype(np.float32)
    strength = (0.35 + 0.9 * size**2).astype(np.float32)
    stars = lights(x, y, radius, strength, to_linear(rgb("f4f0ff")), 0.22)
    far = _waves(draws, 0.68, ((5, 0.05), (11, 0.025), (23, 0.012)), 0.3)
    mid = _waves(draws, 0.78, ((4, 0.04), (9, 0.025)), 0.2)
    near = _waves(draws, 0.93, ((3, 0.025), (7, 0.012)))
    return (
        heaven,
        stars,
        ridge(far, colours[2] * 1.3, colours[2], 0.35, flank=0.3, rim=0.05),
        ridge(_forest(draws, mid, 0.07), colours[3] * 1.3, colours[3], 0.6, flank=0.12, rim=0.0),
        ridge(_forest(draws, near, 0.13), colours[4] * 1.2, colours[4], 1.0, flank=0.12, rim=0.0),
    )


def _dunes(draws: Draws, colours: list[Colour]) -> tuple[Sheet, ...]:
    heaven = sky(
        colours[0],
        colours[1],
        0.55,
        sun=_sun(draws, 0.14, 0.3, 0.064),
        disc=to_linear(rgb("fff3d2")),
        glow=to_linear(rgb("80603a")),
        spread=0.5,
    )
    sheets = [heaven]
    shapes = (
        (0.50, ((5, 0.035), (9, 0.012))),
        (0.60, ((4, 0.06), (7, 0.02))),
        (0.74, ((3, 0.08), (7, 0.02))),
        (0.92, ((3, 0.07), (5, 0.03))),
    )
    for index, (level, parts) in enumerate(shapes):
        colour = colours[2 + index]
        sheets.append(
            ridge(
                _waves(draws, level, parts, 0.75),
                colour * 1.08,
                colour * 0.78,
                (0.25, 0.42, 0.68, 1.0)[index],
                depth=0.25,
                flank=0.38,
                rim=0.14,
            )
        )
    return tuple(sheets)


def _meadow(draws: Draws, colours: list[Colour]) -> tuple[Sheet, ...]:
    heaven = sky(
        colours[0],
        colours[1],
        0.62,
        sun=_sun(draws, 0.12, 0.26, 0.06),
        disc=to_linear(rgb("fff6d8")),
        glow=to_linear(rgb("605a40")),
        spread=0.4,
    )
    clouds = _clouds(draws, 6, to_linear(rgb("dfe6ea")), to_linear(rgb("a9bfcf")), 0.34)
    far = _waves(draws, 0.58, ((4, 0.05), (9, 0.015)))
    mid = _waves(draws, 0.69, ((3, 0.05), (8, 0.012)))
    near = _waves(draws, 0.85, ((3, 0.035), (7, 0.012)))
    x, _ = _scatter(draws, 26, 0.0, 1.0)
    wide = (0.035 + 0.03 * draws.many(26)).astype(np.float32)
    trees = blobs(
        x, mid(x) - wide * 0.55, wide, wide, to_linear(rgb("5d8f45")), to_linear(rgb("2f5f37")), 0.6
    )
    fx, fy = _scatter(draws, 80, 0.9, 1.0)
    flowers = lights(
        fx,
        fy,
        np.full(80, 0.010, np.float32),
        (0.3 + 0.4 * draws.many(80)).astype(np.float32),
        to_linear(rgb("fff0b0")),
        1.0,
    )
    return (
        heaven,
        clouds,
        ridge(far, colours[2] * 1.1, colours[2], 0.3, flank=0.2),
        trees,
        ridge(mid, colours[3] * 1.1, colours[4], 0.6, flank=0.2),
        ridge(near, colours[4] * 1.1, colours[5], 1.0, flank=0.2),
        flowers,
    )


def _city(draws: Draws, colours: list[Colour]) -> tuple[Sheet, ...]:
    heaven = sky(
        colours[0],
        colours[1],
        0.72,
        sun=_sun(draws, 0.42, 0.52, 0.068),
        disc=to_linear(rgb("ffd9a0")),
        glow=to_linear(rgb("84402a")),
        spread=0.4,
    )
    sheets = [heaven]
    rows = ((40, 0.48, 0.66, 0.3, 0.16), (30, 0.56, 0.80, 0.6, 0.4), (20, 0.72, 0.92, 1.0, 0.55))
    for index, (count, high, low, parallax, lit) in enumerate(rows):
        widths = 0.6 + draws.many(count)
        rights = np.cumsum(widths) / widths.sum() * PERIOD
        lefts = np.concatenate([[0.0], rights[:-1]])
        tops = high + (low - high) * draws.many(count)
        colour = colours[2 + index] * (0.9 + 0.2 * draws.many(count)[:, None])
        houses = boxes(
            lefts.astype(np.float32),
            rights.astype(np.float32),
            tops.astype(np.float32),
            np.full(count, 1.2, np.float32),
            colour.astype(np.float32),
            parallax,
            shadow=0.3,
            fade=0.3,
        )
        sheets.append(houses)
        sheets.append(_windows(draws, lefts, rights, tops, parallax, lit))
    return tuple(sheets)


def _windows(
    draws: Draws,
    lefts: NDArray[np.float64],
    rights: NDArray[np.float64],
    tops: NDArray[np.float64],
    parallax: float,
    lit: float,
) -> Sheet:
    """Lamps behind some windows of a row of houses."""
    pitch, centres = 0.05 + 0.02 * parallax, []
    for left, right, top in zip(lefts, rights, tops, strict=True):
        columns = max(1, int((right - left - 0.02) / pitch))
        margin = (right - left - columns * pitch) / 2
        rows = min(6, int((1.0 - top) / pitch))
        on = draws.many(columns * rows).reshape(rows, columns) < lit
        for row, column in zip(*np.nonzero(on), strict=True):
            centres.append((left + margin + (column + 0.5) * pitch, top + (row + 0.8) * pitch))
    x, y = np.array(centres, np.float32).reshape(-1, 2).T
    half_x, half_y = np.float32(0.22 * pitch), np.float32(0.28 * pitch)
    glow = to_linear(rgb("f0a850")) * (0.45 + 0.55 * draws.many(len(x))[:, None])
    return boxes(
        x - half_x,
        x + half_x,
        y - half_y,
        y + half_y,
        (glow * (0.35 + 0.6 * parallax)).astype(np.float32),
        parallax,
    )


def _snow(draws: Draws, colours: list[Colour]) -> tuple[Sheet, ...]:
    heaven = sky(
        colours[0],
        colours[1],
        0.6,
        sun=_sun(draws, 0.12, 0.26, 0.056),
        disc=to_linear(rgb("fdf6e4")),
        glow=to_linear(rgb("50525c")),
        spread=0.4,
    )
    far = _waves(draws, 0.50, ((5, 0.07), (11, 0.035), (19, 0.015)), 0.4)
    hill = _waves(draws, 0.64, ((4, 0.035), (7, 0.012)))
    mid = _waves(draws, 0.70, ((3, 0.04), (8, 0.01)))
    near = _waves(draws, 0.88, ((3, 0.035), (5, 0.015)))
    fir = to_linear(rgb("3d5f6e"))
    return (
        heaven,
        ridge(far, colours[2] * 1.25, colours[2], 0.25, flank=0.28),
        ridge(_forest(draws, hill, 0.12), fir * 1.2, fir, 0.45, flank=0.15, rim=0.0),
        ridge(mid, colours[4], colours[3], 0.65, flank=0.14),
        ridge(near, colours[5], colours[3] * 1.05, 1.0, flank=0.12),
    )


_BUILDERS: dict[str, Callable[[Draws, list[Colour]], tuple[Sheet, ...]]] = {
    "sea": _sea,
    "night": _night,
    "dunes": _dunes,
    "meadow": _meadow,
    "city": _city,
    "snow": _snow,
}
