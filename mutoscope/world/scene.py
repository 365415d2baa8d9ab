"""A scene: one or two things before a background, drawn from a seed, with every factor known."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mutoscope.errors import RequestError
from mutoscope.world.factors import (
    ASPECT,
    BACKGROUNDS,
    BOUNCE_PATH,
    CAMERAS,
    CLIP_FRAMES,
    CLIP_SECONDS,
    COLOURS,
    DIAMETER,
    IMAGE_ONLY_SHAPES,
    IMAGE_ONLY_STYLES,
    MOTIONS,
    OUTLINE,
    RELATIONS,
    SHAPES,
    SIZES,
    SPEEDS,
    STYLES,
    TEXTURES,
    Arrangement,
    Kind,
    Split,
)
from mutoscope.world.motion import Array, Course
from mutoscope.world.palette import CONTRAST, MIN_CONTRAST
from mutoscope.world.splits import Draws, held_out, scene_draws

__all__ = [
    "BACKGROUNDS",
    "CAMERAS",
    "COLOURS",
    "IMAGE_ONLY_SHAPES",
    "IMAGE_ONLY_STYLES",
    "MOTIONS",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "SPEEDS",
    "STYLES",
    "TEXTURES",
    "Arrangement",
    "Kind",
    "Scene",
    "Split",
    "Thing",
    "draw_scene",
    "excluded",
    "excluded_combinations",
]

OVERHANG = 0.35
"""How far a thing may stick out of the frame, in its radius: at least ~75 % of it stays inside."""
GAP = 2 / 80
"""Least space between two things, in frame heights."""
APART = 15 / 80
"""Least distance of two centres along the axis of their relation."""
STEEPNESS = 1.15
"""How much further two centres are apart along the axis of their relation than across it."""
TURNING_ROOM = 16 / 80
"""What a bouncing thing travels at least before and after it first touches an edge."""
TWO_THINGS = 0.35
IMAGE_ONLY_SHARE = 0.2
CANDIDATES = 96
TRIES = 8

Flags = NDArray[np.bool_]

TIMES = np.linspace(0.0, CLIP_SECONDS, CLIP_FRAMES)


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        shape: One of `SHAPES`, in images also of `IMAGE_ONLY_SHAPES`.
        colour: One of `COLOURS`.
        size: One of `SIZES` (28, 34 or 41 px across at 80x128). A growing thing starts with it, a
            shrinking one ends with it.
        texture: One of `TEXTURES`; it turns with the thing.
        motion: One of `MOTIONS`, as seen in the frame: a pan moves the background only.
        speed: One of `SPEEDS`; "normal" when the motion is "still".
        x: Centre at time 0 in frame heights from the left edge of the reference frame, 0-1.6.
        y: Centre at time 0 in frame heights from the top, 0-1.
        heading: Radians, see `Course`.
        turn: 1 clockwise, -1 anticlockwise, for "orbit" and "spin".
    """

    shape: str
    colour: str
    size: str
    texture: str
    motion: str
    speed: str
    x: float
    y: float
    heading: float = 0.0
    turn: int = 1

    @property
    def course(self) -> Course:
        """The thing's law of motion."""
        return Course(self.motion, self.speed, self.size, self.heading, self.turn)


@dataclass(frozen=True)
class Scene:
    """All that a clip or an image shows, in continuous time and free of any pixel size.

    Attributes:
        seed: The integer it was drawn from.
        split: The split it belongs to.
        kind: "video", or "image" (one instant: time 0, camera and things still).
        background: One of `BACKGROUNDS`.
        camera: One of `CAMERAS`.
        things: One thing or two, in canonical order: left to right when the arrangement is
            "horizontal", top to bottom when it is "vertical".
        relation: One of `RELATIONS`, of `things[0]` to `things[1]`; "" for a single thing.
        style: One of `STYLES`; "none" in videos.
        look: Seed of what varies within a background (hills, skyline, where the sun stands).
    """

    seed: int
    split: Split
    kind: Kind
    background: str
    camera: str
    things: tuple[Thing, ...]
    relation: str
    style: str
    look: int

    @property
    def arrangement(self) -> Arrangement:
        """How the things stand to each other."""
        if len(self.things) == 1:
            return "single"
        return "horizontal" if self.relation == "left of" else "vertical"


def draw_scene(seed: int, *, split: Split, kind: Kind = "video") -> Scene:
    """Draws the scene of an integer; the same integer gives unrelated scenes in other splits.

    Args:
        seed: Any integer.
        split: "train", "test" (both without the held-out combinations), or "held-out" (every scene
            has at least one thing with a held-out combination).
        kind: "video" or "image".

    Raises:
        RequestError: `split` or `kind` is another word.
    """
    if split not in ("train", "test", "held-out") or kind not in ("video", "image"):
        raise RequestError(
            f"split={split!r}, kind={kind!r} cannot be drawn: the splits are train, test and "
            "held-out, the kinds video and image. Choose among these."
        )
    draws = scene_draws(seed, split, kind)
    is_image = kind == "image"
    frame = Scene(
        seed=seed,
        split=split,
        kind=kind,
        background=draws.pick(BACKGROUNDS),
        camera="still" if is_image else draws.pick(CAMERAS),
        things=(),
        relation=draws.pick(RELATIONS) if draws.one() < TWO_THINGS else "",
        style="none",
        look=int(draws.one() * 2**53),
    )
    if is_image and draws.one() < IMAGE_ONLY_SHARE:
        frame = replace(frame, style=draws.pick(IMAGE_ONLY_STYLES))
    count = 2 if frame.relation else 1
    with_new_shape = is_image and draws.one() < IMAGE_ONLY_SHARE
    if split == "held-out" and count == 1:
        with_new_shape = False  # no combination of an image-only shape is held out
    while True:
        things = [_draw_thing(draws, kind, frame.relation) for _ in range(count)]
        if with_new_shape:
            which = int(draws.one() * count)
            things[which] = replace(things[which], shape=draws.pick(IMAGE_ONLY_SHAPES))
        if not _belongs(things, split):
            continue
        if excluded_combination(replace(frame, things=tuple(things))):
            continue
        # Two things are hard to place when they are large and fast; other sizes and speeds are
        # tried first, or hardly any scene with two things would hold an orbit.
        for _ in range(TRIES):
            if _place(things, frame.relation, kind, draws):
                return replace(frame, things=tuple(things))
            things = [_resized(thing, draws) for thing in things]


def excluded(scene: Scene) -> str | None:
    """Why a scene is not drawn, or None when it may be.

    The reason is one of those of `excluded_combination`, or that a thing leaves the frame, touches
    another, or breaks the relation in one of the 16 reference frames.
    """
    reason = excluded_combination(scene)
    if reason is not None:
        return reason
    times = TIMES if scene.kind == "video" else TIMES[:1]
    paths = []
    for thing in scene.things:
        x, y = thing.course.position(thing.x, thing.y, times)
        radius = thing.course.diameter(times) / 2
        if not _inside(x, y, radius).all():
            return "a thing leaves the frame"
        if thing.motion == "bounce" and not _turns(thing.course, thing.x, thing.y):
            return "a bounce that turns too early or too late to be seen"
        paths.append((x, y, radius))
    if len(paths) == 2 and not _related(paths[0], paths[1], scene.relation).all():
        return "the things touch, or their relation does not last"
    return None


def excluded_combination(scene: Scene) -> str | None:
    """Why the factors of a scene cannot be read wherever its things stand, or None."""
    for thing in scene.things:
        looks_alike = thing.texture == "plain" and thing.shape in ("circle", "ring")
        if looks_alike and thing.motion == "spin":
            return f"a plain {thing.shape} looks the same however it spins"
        if CONTRAST[thing.colour, scene.background] < MIN_CONTRAST:
            return f"{thing.colour} is too close to the colours of the {scene.background}"
        if scene.style == "pencil sketch" and thing.colour == "white":
            return "white is the colour of the paper of a pencil sketch"
    if len(scene.things) == 2:
        one, other = scene.things
        if (one.shape, one.colour) == (other.shape, other.colour):
            return "two things of the same shape and colour cannot be told apart by name"
    return None


def excluded_combinations() -> list[tuple[str, str]]:
    """Every excluded combination of factors of one thing, and the reason; for docs/world.md."""
    scene = Scene(0, "train", "video", BACKGROUNDS[0], "still", (), "", "none", 0)
    plain = Thing("star", "red", "medium", "plain", "still", "normal", 0.8, 0.5)
    rows = {}
    for shape in (*SHAPES, *IMAGE_ONLY_SHAPES):
        for texture in TEXTURES:
            for motion in MOTIONS:
                thing = replace(plain, shape=shape, texture=texture, motion=motion)
                rows[f"{texture} {shape} + {motion}"] = replace(scene, things=(thing,))
    for colour in COLOURS:
        thing = replace(plain, colour=colour)
        for background in BACKGROUNDS:
            rows[f"{colour} + {background}"] = replace(
                scene, things=(thing,), background=background
            )
        for style in STYLES:
            rows[f"{colour} + {style}"] = replace(scene, things=(thing,), style=style)
    found = ((name, excluded_combination(each)) for name, each in rows.items())
    return [(name, reason) for name, reason in found if reason is not None]


def _draw_thing(draws: Draws, kind: Kind, relation: str) -> Thing:
    """A thing without a place."""
    motion = draws.pick(MOTIONS) if kind == "video" else "still"
    speed = draws.pick(SPEEDS)
    heading = 2 * np.pi * draws.one()
    if motion == "bounce":
        # Between the edges that leave room for a second thing beside it.
        ways = {"left of": (1, 3), "above": (0, 2)}.get(relation, (0, 1, 2, 3))
        heading = draws.pick(ways) * np.pi / 2
    return Thing(
        shape=draws.pick(SHAPES),
        colour=draws.pick(COLOURS),
        size=draws.pick(SIZES),
        texture=draws.pick(TEXTURES),
        motion=motion,
        speed="normal" if motion == "still" else speed,
        x=0.0,
        y=0.0,
        heading=float(heading),
        turn=draws.pick((1, -1)),
    )


def _resized(thing: Thing, draws: Draws) -> Thing:
    """The same thing with its size and its speed drawn again."""
    size, speed = draws.pick(SIZES), draws.pick(SPEEDS)
    return replace(thing, size=size, speed=thing.speed if thing.motion == "still" else speed)


def _belongs(things: list[Thing], split: Split) -> bool:
    """Whether things with these combinations may stand in a scene of the split."""
    kept = [held_out(thing.shape, thing.colour, thing.motion) for thing in things]
    return any(kept) if split == "held-out" else not any(kept)


def _place(things: list[Thing], relation: str, kind: Kind, draws: Draws) -> bool:
    """Puts the things where they stay visible and related; False when no place was found."""
    times = TIMES if kind == "video" else TIMES[:1]
    count = CANDIDATES if len(things) == 2 else 4
    chosen = np.ones(count, bool)
    places, paths = [], []
    for thing in things:
        course = thing.course
        radius = course.diameter(times) / 2
        u, v = draws.many(2 * count).reshape(2, count, 1)
        x, y = _spread(course, times, radius, u, v)
        path = course.position(x, y, times)
        chosen &= _inside(*path, radius).all(-1)
        if course.motion == "bounce":
            chosen &= _turns(course, x, y)[:, 0]
        places.append((x[:, 0], y[:, 0]))
        paths.append((*path, radius))
    if len(things) == 2:
        chosen &= _related(paths[0], paths[1], relation).all(-1)
    if not chosen.any():
        return False
    first = int(np.argmax(chosen))
    for index, (x, y) in enumerate(places):
        things[index] = replace(things[index], x=float(x[first]), y=float(y[first]))
    return True


def _spread(course: Course, times: Array, radius: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """Starting points, evenly over those from which the thing stays in the frame (u, v in 0-1)."""
    free = course if course.motion != "bounce" else replace(course, motion="still")
    dx, dy = free.position(0.0, 0.0, times)
    inset = radius * (1 - OVERHANG)
    low_x, low_y = (inset - dx).max(), (inset - dy).max()
    high_x, high_y = (ASPECT - inset - dx).min(), (1.0 - inset - dy).min()
    if course.motion == "bounce":
        edge = DIAMETER[course.size] / 2
        if course.bounces_sideways:
            low_x, high_x = edge, ASPECT - edge
        else:
            low_y, high_y = edge, 1.0 - edge
    return low_x + (high_x - low_x) * u, low_y + (high_y - low_y) * v


def _inside(x: Array, y: Array, radius: Array) -> Flags:
    """Whether circles stick out of the frame by no more than the allowed part of their radius."""
    inset = radius * (1 - OVERHANG) - 1e-9
    wide = (x >= inset) & (x <= ASPECT - inset)
    return np.asarray(wide & (y >= inset) & (y <= 1.0 - inset))


def _turns(course: Course, x: Array | float, y: Array | float) -> Flags:
    """Whether the first touch of an edge falls well inside the reference clip."""
    along, length = (x, ASPECT) if course.bounces_sideways else (y, 1.0)
    low = DIAMETER[course.size] / 2
    way = length - low - along if course.bounce_sign > 0 else np.asarray(along - low)
    path = float(BOUNCE_PATH[course.speed])
    return np.asarray((way >= TURNING_ROOM) & (way <= path - TURNING_ROOM))


def _related(
    one: tuple[Array, Array, Array], other: tuple[Array, Array, Array], relation: str
) -> Flags:
    """Whether `one` stands to `other` as the relation says, clear of it, at each instant."""
    dx, dy = other[0] - one[0], other[1] - one[1]
    clear = np.hypot(dx, dy) >= 2 * OUTLINE * (one[2] + other[2]) + GAP
    along, across = (dx, dy) if relation == "left of" else (dy, dx)
    return np.asarray(clear & (along >= APART) & (along >= STEEPNESS * np.abs(across)))
