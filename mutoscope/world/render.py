"""Scenes to pixels: anti-aliased, in linear light, at any frame rate, length, size and crop."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mutoscope.errors import RequestError
from mutoscope.world.backgrounds import build
from mutoscope.world.factors import ASPECT, CLIP_SECONDS, ORBIT_RADIUS, OUTLINE, PAN
from mutoscope.world.palette import INK, to_linear, to_srgb
from mutoscope.world.scene import Scene, Thing
from mutoscope.world.shapes import DISTANCE
from mutoscope.world.sheets import Grid, Sheet
from mutoscope.world.styles import restyle

Floats = NDArray[np.floating]
Frames = NDArray[np.uint8]
Crop = tuple[int, int, int, int]

_STEPS = 1 << 14
_TO_SRGB = np.rint(to_srgb(np.linspace(0.0, 1.0, _STEPS))).astype(np.uint8)

# Light falls from the top left onto a thing that floats a little before the background.
CAST = (0.020, 0.030)
"""Where the shadow falls, in frame heights."""
BLUR = 0.045
SHADE = 0.42
DASHES = 16


@dataclass(frozen=True)
class Truth:
    """What each pixel of a render shows and how it moves.

    Attributes:
        flow: Motion of what each pixel shows to the next frame, (x, y) in pixels, F-1 H W 2.
        masks: The part of each pixel that each thing covers, 0-1, N F H W, in the order of
            `Scene.things`.
    """

    flow: Floats
    masks: Floats


def render(
    scene: Scene,
    *,
    num_frames: int = 16,
    fps: float = 8.0,
    height: int = 80,
    width: int = 128,
    start: float = 0.0,
    crop: Crop | None = None,
) -> Frames:
    """The frames of a scene as uint8 sRGB, F H W 3.

    Frames are samples of one continuous scene: frame k at 8 fps is frame 4k at 32 fps. The frame
    height is the unit of length, so a larger size shows the same scene sharper, and a width other
    than 1.6 heights shows more or less of it at both sides.

    Args:
        scene: What to show.
        num_frames: At least 1.
        fps: Frames per second, above 0.
        height: Pixels, at least 1.
        width: Pixels, at least 1.
        start: Time of the first frame in seconds; the reference clip starts at 0.
        crop: Pixels (top, left, height, width) to return of the full frame.

    Raises:
        RequestError: A number out of its range, or a crop that leaves the frame.
    """
    _check(num_frames, fps, height, width, crop)
    grid = _grid(height, width)
    sheets = build(scene.background, scene.look)
    moving = scene.camera != "still" or any(sheet.drift for sheet in sheets)
    window = _window(height, width, crop)
    frames = np.empty((num_frames, *(crop or (0, 0, height, width))[2:], 3), np.uint8)
    behind: Floats | None = None
    for index in range(num_frames):
        time = start + index / fps
        if behind is None or moving:
            behind = _backdrop(sheets, scene.camera, grid, time)
        canvas = behind if moving else behind.copy()
        for thing in scene.things:
            _paint_track(canvas, thing, grid)
        for thing in scene.things:
            _paint_thing(canvas, thing, grid, time)
        frame = restyle(_encode(canvas), scene.style)
        frames[index] = frame[window]
    return frames


def render_truth(
    scene: Scene,
    *,
    num_frames: int = 16,
    fps: float = 8.0,
    height: int = 80,
    width: int = 128,
    start: float = 0.0,
    crop: Crop | None = None,
) -> Truth:
    """Flow and masks of the frames that `render` gives for the same arguments.

    The circle on which an orbiting thing moves, shadows and the glow of the sun count as the
    background behind them.
    """
    _check(num_frames, fps, height, width, crop)
    grid = _grid(height, width)
    sheets = build(scene.background, scene.look)
    window = _window(height, width, crop)
    times = start + np.arange(num_frames) / fps
    masks = np.zeros((len(scene.things), num_frames, height, width), np.float32)
    for row, thing in zip(masks, scene.things, strict=True):
        for frame, time in zip(row, times, strict=True):
            _mark(frame, thing, grid, float(time))
    flow = np.zeros((num_frames - 1, height, width, 2), np.float32)
    for index in range(num_frames - 1):
        now, then = float(times[index]), float(times[index + 1])
        flow[index, ..., 0] = _backdrop_flow(sheets, scene.camera, grid, now, then)
        for thing, row in zip(scene.things, masks, strict=True):
            inside = row[index] > 0.5
            flow[index][inside] = _thing_flow(thing, grid, now, then)[inside]
    return Truth(flow=flow[:, *window], masks=masks[:, :, *window])


def _check(num_frames: int, fps: float, height: int, width: int, crop: Crop | None) -> None:
    if num_frames < 1 or height < 1 or width < 1 or not fps > 0:
        raise RequestError(
            f"num_frames={num_frames}, fps={fps}, size {height}x{width} cannot be rendered: "
            "at least one frame, one pixel and a frame rate above 0 are needed. Raise them."
        )
    if crop is not None:
        top, left, rows, columns = crop
        inside = 0 <= top <= top + rows <= height and 0 <= left <= left + columns <= width
        if not inside or rows < 1 or columns < 1:
            raise RequestError(
                f"crop={crop} (top, left, height, width) is not a part of a {height}x{width} "
                "frame. Choose one inside it."
            )


def _grid(height: int, width: int) -> Grid:
    x = (np.arange(width) + 0.5 - width / 2) / height + ASPECT / 2
    y = (np.arange(height) + 0.5) / height
    return Grid(x.astype(np.float32), y.astype(np.float32), float(height))


def _window(height: int, width: int, crop: Crop | None) -> tuple[slice, slice]:
    top, left, rows, columns = crop or (0, 0, height, width)
    return slice(top, top + rows), slice(left, left + columns)


def _encode(canvas: Floats) -> Frames:
    """Linear light 3 H W to sRGB H W 3, by a table finer than one level of sRGB."""
    canvas *= np.float32(_STEPS - 1)
    canvas += np.float32(0.5)
    np.clip(canvas, 0.0, _STEPS - 1, out=canvas)
    return np.ascontiguousarray(_TO_SRGB[canvas.astype(np.uint16)].transpose(1, 2, 0))


def _shift(sheet: Sheet, camera: str, time: float) -> float:
    """How far right a sheet stands at a time: a camera that pans right moves it left."""
    pan = {"still": 0.0, "pan left": 1.0, "pan right": -1.0}[camera]
    return time * (sheet.drift + pan * sheet.parallax * PAN / CLIP_SECONDS)


def _backdrop(sheets: tuple[Sheet, ...], camera: str, grid: Grid, time: float) -> Floats:
    canvas = np.empty((3, len(grid.y), len(grid.x)), np.float32)
    for sheet in sheets:
        sheet.paint(canvas, grid, _shift(sheet, camera, time))
    return canvas


def _backdrop_flow(
    sheets: tuple[Sheet, ...], camera: str, grid: Grid, now: float, then: float
) -> Floats:
    """Sideways motion of the nearest sheet at each pixel, H W, in pixels."""
    flow = np.zeros((len(grid.y), len(grid.x)), np.float32)
    for sheet in sheets:
        step = (_shift(sheet, camera, then) - _shift(sheet, camera, now)) * grid.scale
        flow[sheet.cover(grid, _shift(sheet, camera, now)) > 0.5] = step
    return flow


@dataclass(frozen=True)
class _Pose:
    x: float
    y: float
    diameter: float
    cosine: float
    sine: float


def _pose(thing: Thing, time: float) -> _Pose:
    course, at = thing.course, np.asarray(time)
    x, y = course.position(thing.x, thing.y, at)
    angle = float(course.angle(at))
    return _Pose(float(x), float(y), float(course.diameter(at)), math.cos(angle), math.sin(angle))


def _near(grid: Grid, pose: _Pose, margin: float) -> tuple[slice, slice]:
    """Rows and columns that a thing, or what lies `margin` around it, can reach."""
    reach = pose.diameter * OUTLINE + margin
    rows = np.searchsorted(grid.y, (pose.y - reach, pose.y + reach))
    columns = np.searchsorted(grid.x, (pose.x - reach, pose.x + reach))
    return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))


def _local(grid: Grid, pose: _Pose, rows: slice, columns: slice) -> tuple[Floats, Floats]:
    """Coordinates around the thing in its diameters, upright."""
    size = np.float32(1 / pose.diameter)
    u = (grid.x[columns] - np.float32(pose.x)) * size
    v = (grid.y[rows] - np.float32(pose.y)) * size
    return u, v[:, None]


def _turned(pose: _Pose, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """The same points in the thing's own, turning coordinates."""
    c, s = np.float32(pose.cosine), np.float32(pose.sine)
    return c * u + s * v, c * v - s * u


def _mark(mask: Floats, thing: Thing, grid: Grid, time: float) -> None:
    pose = _pose(thing, time)
    rows, columns = _near(grid, pose, 2 / grid.scale)
    away = DISTANCE[thing.shape](*_turned(pose, *_local(grid, pose, rows, columns)))
    mask[rows, columns] = np.clip(0.5 - away * np.float32(pose.diameter * grid.scale), 0.0, 1.0)


def _thing_flow(thing: Thing, grid: Grid, now: float, then: float) -> Floats:
    """Where each pixel goes if it sticks to the thing, H W 2, in pixels."""
    a, b = _pose(thing, now), _pose(thing, then)
    x, y = grid.x - np.float32(a.x), grid.y[:, None] - np.float32(a.y)
    ratio = b.diameter / a.diameter
    c = np.float32(ratio * (a.cosine * b.cosine + a.sine * b.sine))
    s = np.float32(ratio * (a.cosine * b.sine - a.sine * b.cosine))
    dx = c * x - s * y + np.float32(b.x - a.x) - x
    dy = s * x + c * y + np.float32(b.y - a.y) - y
    return np.stack([dx, dy], -1) * np.float32(grid.scale)


def _paint_track(canvas: Floats, thing: Thing, grid: Grid) -> None:
    """The circle on which an orbiting thing moves: a pale dashed thread with a soft shadow."""
    if thing.motion != "orbit":
        return
    x, y = thing.course.orbit_centre(thing.x, thing.y)
    pose = _Pose(x, y, 2 * ORBIT_RADIUS, 1.0, 0.0)
    rows, columns = _near(grid, pose, 0.06)
    dx, dy = grid.x[columns] - np.float32(x), grid.y[rows, None] - np.float32(y)
    away = np.abs(np.sqrt(dx * dx + dy * dy) - np.float32(ORBIT_RADIUS))
    along = np.arctan2(dy, dx) * np.float32(DASHES / (2 * math.pi))
    end = np.abs(along - np.round(along)) * np.float32(2 * math.pi * ORBIT_RADIUS / DASHES)
    dash = np.float32(0.32 * 2 * math.pi * ORBIT_RADIUS / DASHES) - end
    thread = np.clip((0.0085 - away) * np.float32(grid.scale) + 0.5, 0.0, 1.0)
    thread *= np.clip(dash * np.float32(grid.scale) + 0.5, 0.0, 1.0)
    dark = np.clip(1.0 - away / np.float32(0.028), 0.0, 1.0) * np.float32(0.4)
    part = canvas[:, rows, columns]
    part *= 1.0 - dark
    part += thread * np.float32(0.85) * (np.float32(0.85) - part)


def _paint_thing(canvas: Floats, thing: Thing, grid: Grid, time: float) -> None:
    """One thing: shadow, bevelled face with its texture, rim, edge and gloss."""
    pose = _pose(thing, time)
    rows, columns = _near(grid, pose, BLUR + max(CAST))
    part = canvas[:, rows, columns]
    if part.size == 0:
        return
    u, v = _local(grid, pose, rows, columns)
    # Both distances at once: here, and towards the light. The second gives the shadow that falls
    # here, and the difference of the two how much the surface is turned to the light.
    du, dv = np.float32(CAST[0] / pose.diameter), np.float32(CAST[1] / pose.diameter)
    us = np.stack(np.broadcast_arrays(u, u - du))[:, None]
    vs = np.stack(np.broadcast_arrays(v, v - dv))
    here, behind = DISTANCE[thing.shape](*_turned(pose, us, vs)) * np.float32(pose.diameter)
    face = np.clip(0.5 - here * np.float32(grid.scale), 0.0, 1.0)
    dark = np.clip(0.5 - behind / np.float32(BLUR), 0.0, 1.0)
    dark *= dark * (3.0 - 2.0 * dark) * np.float32(SHADE)
    part *= (1.0 - dark) * (1.0 - face)
    shade, shine = _light(here, behind, u, v, pose)
    ink = _texture(thing, pose, u, v, grid.scale * pose.diameter)
    base = to_linear(INK[thing.colour])
    for plane, colour, second in zip(part, base, _second(base), strict=True):
        paint = np.float32(colour) + ink * np.float32(second - colour)
        plane += (paint * shade + shine) * face


def _light(
    here: Floats, behind: Floats, u: Floats, v: Floats, pose: _Pose
) -> tuple[Floats, Floats]:
    """What the paint is multiplied by, and the light that is added to it."""
    away_from_light = (here - behind) * np.float32(1 / math.hypot(*CAST))
    border = np.clip(1.0 + here / np.float32(0.16 * pose.diameter), 0.0, 1.0)
    line = np.clip(1.0 + here / np.float32(0.016), 0.0, 1.0)
    shade = np.float32(0.98) - np.float32(0.28) * (u + v)
    shade *= 1.0 - np.float32(0.38) * border * away_from_light
    shade *= 1.0 - np.float32(0.45) * line
    rim = np.clip(1.0 - np.abs(here + 0.028) / np.float32(0.02), 0.0, 1.0)
    shine = rim * np.clip(-away_from_light, 0.0, 1.0) * np.float32(0.22)
    shine += np.exp(((u + 0.16) ** 2 + (v + 0.2) ** 2) * np.float32(-32.0)) * np.float32(0.10)
    return shade, shine


def _second(base: Floats) -> Floats:
    """The second ink of a texture: a deep tone of the first."""
    return base * np.float32(0.24)


def _texture(thing: Thing, pose: _Pose, u: Floats, v: Floats, pixels: float) -> Floats:
    """How much of the second ink lies at each point, 0-1; `pixels` to the diameter."""
    if thing.texture == "plain":
        return np.zeros((1, 1), np.float32)
    x, y = _turned(pose, u, v)
    if thing.texture == "striped":
        period, share = 0.30, 0.36
        along = (x + y) * np.float32(math.sqrt(0.5) / period)
        away = np.abs(along - np.round(along)) * np.float32(period)
        inside = np.float32(share * period / 2) - away
        return np.asarray(np.clip(inside * np.float32(pixels) + 0.5, 0.0, 1.0))
    if thing.texture == "checked":
        # How far from the nearest border of the squares, negative between them.
        side = np.float32(0.24)
        x, y = (side / 2 - np.abs(each % (2 * side) - side) for each in (x, y))
        inside = np.sign(x * y) * np.minimum(np.abs(x), np.abs(y))
        return np.asarray(np.clip(inside * np.float32(pixels) + 0.5, 0.0, 1.0))
    pitch, radius = 0.30, 0.088
    x, y = x / np.float32(pitch), y / np.float32(pitch)
    x, y = (x - np.round(x)) * np.float32(pitch), (y - np.round(y)) * np.float32(pitch)
    away = np.sqrt(x * x + y * y)
    return np.asarray(np.clip((np.float32(radius) - away) * np.float32(pixels) + 0.5, 0.0, 1.0))
