"""Captions of scenes in plain English, and the facts that each states.

Every caption names shape, colour and background, and in videos the motion of each thing, whatever
its level of detail; "plain" adds one of texture and size, "full" adds texture, size, speed and the
camera. Words of motion say what is seen in the frame. Captions of images say nothing of motion,
speed or camera. The size of a growing or shrinking thing is not stated, for it has several.
"""

import re
from dataclasses import dataclass

from mutoscope.world.factors import Level
from mutoscope.world.scene import Scene, Thing
from mutoscope.world.splits import Draws

Words = tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One thing that a caption claims.

    Attributes:
        thing: Index into `Scene.things`; None for a fact about the whole scene.
        factor: Name of the factor: "shape", "colour", "size", "texture", "motion", "speed",
            "background", "camera", "relation" or "style".
        value: Its value, one of the words in `factors`. A "relation" is that of `things[0]` to
            `things[1]`, whichever of the two the caption names first.
    """

    thing: int | None
    factor: str
    value: str


SHAPE_WORDS: dict[str, Words] = {
    "circle": ("circle", "disc", "ball"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "ring": ("ring", "hoop"),
    "cross": ("cross", "plus sign"),
    "crescent": ("crescent", "sickle"),
    "flower": ("flower", "blossom"),
    "arrow": ("arrow",),
}
COLOUR_WORDS: dict[str, Words] = {
    "red": ("red", "red", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
}
SIZE_WORDS: dict[str, Words] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "medium sized"),
    "large": ("large", "big"),
}
TEXTURE_WORDS: dict[str, Words] = {
    "plain": ("plain",),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
}
BACKGROUND_WORDS: dict[str, Words] = {
    "sea": ("over the sea", "above the waves", "over the ocean", "in front of the sea"),
    "night": (
        "in the night sky",
        "under a starry sky",
        "against the night sky",
        "in a night full of stars",
    ),
    "dunes": ("over the dunes", "above the sand", "in the desert", "over desert dunes"),
    "meadow": ("over a meadow", "above a grassy field", "over the grass", "in front of a meadow"),
    "city": (
        "over the city at dusk",
        "above the skyline",
        "in front of a city skyline",
        "over the roofs of a city",
    ),
    "snow": ("over the snow", "above a snowy field", "in a snowy land", "over snowy hills"),
}
SPEED_WORDS: dict[str, Words] = {
    "slow": ("slowly", "gently", "at a slow pace"),
    "normal": ("steadily", "at a steady pace"),
    "fast": ("fast", "quickly", "at high speed"),
}
CAMERA_WORDS: dict[str, Words] = {
    "still": ("the camera stays still", "the camera does not move", "with a fixed camera"),
    "pan left": ("the camera pans left", "as the camera pans to the left"),
    "pan right": ("the camera pans right", "as the camera pans to the right"),
}
STYLE_WORDS: dict[str, Words] = {
    "none": ("", "", "", "a picture of", "an image of"),
    "pencil sketch": ("a pencil sketch of", "a pencil drawing of", "a sketch of"),
    "pixel art": ("pixel art of", "a pixel art picture of"),
    "neon": ("a neon picture of", "neon lights in the form of", "a neon image of"),
}
# Each motion as (third person, participle): "drifts" / "drifting".
TRAVEL_VERBS = (
    ("drifts", "drifting"),
    ("moves", "moving"),
    ("glides", "gliding"),
    ("slides", "sliding"),
    ("floats", "floating"),
    ("travels", "travelling"),
)
WAYS: dict[str, Words] = {
    "right": ("right", "to the right", "rightward"),
    "left": ("left", "to the left", "leftward"),
    "up": ("up", "upward", "straight up"),
    "down": ("down", "downward", "straight down"),
    "up right": ("up and to the right", "up and right", "to the upper right"),
    "up left": ("up and to the left", "up and left", "to the upper left"),
    "down right": ("down and to the right", "down and right", "to the lower right"),
    "down left": ("down and to the left", "down and left", "to the lower left"),
}
MOTION_VERBS: dict[str, tuple[tuple[str, str], ...]] = {
    "bounce": (
        ("bounces back and forth", "bouncing back and forth"),
        ("bounces between the edges", "bouncing between the edges"),
        ("bounces from edge to edge", "bouncing from edge to edge"),
    ),
    "orbit": (
        ("orbits along a dashed path", "orbiting along a dashed path"),
        ("goes round and round", "going round and round"),
        ("orbits round and round", "orbiting round and round"),
    ),
    "spin": (
        ("spins in place", "spinning in place"),
        ("turns on the spot", "turning on the spot"),
        ("rotates in place", "rotating in place"),
    ),
    "grow": (
        ("grows", "growing"),
        ("grows larger", "growing larger"),
        ("gets bigger", "getting bigger"),
    ),
    "shrink": (
        ("shrinks", "shrinking"),
        ("shrinks away", "shrinking away"),
        ("gets smaller", "getting smaller"),
    ),
    "still": (
        ("stays still", "staying still"),
        ("hangs motionless", "hanging motionless"),
        ("rests in place", "resting in place"),
    ),
}
_FRAME_WORDS = (
    "a an and in on at that the to of top bottom left right side above below higher lower than "
    "upper part"
)


def caption(scene: Scene, *, level: Level, seed: int) -> str:
    """One of the ways to say what a scene shows; lower case, commas only.

    Args:
        scene: What to describe.
        level: "short", "plain" or "full".
        seed: Chooses among the synonyms and sentences; it never changes what is stated.
    """
    draws = Draws("caption", scene.split, scene.kind, scene.seed, level, seed)
    place = draws.pick(BACKGROUND_WORDS[scene.background])
    if scene.kind == "image":
        return _tidy(_image_sentence(scene, level, place, draws))
    sentence = _video_sentence(scene, level, place, draws)
    if level == "full":
        sentence = f"{sentence}, {draws.pick(CAMERA_WORDS[scene.camera])}"
    return _tidy(sentence)


def facts(scene: Scene, level: Level) -> tuple[Fact, ...]:
    """The atomic facts that every caption of the scene at this level states."""
    found = []
    for index, thing in enumerate(scene.things):
        stated = ["shape", "colour", *_details(thing, level)]
        if scene.kind == "video":
            stated.append("motion")
            if level == "full" and thing.motion != "still":
                stated.append("speed")
        found += [Fact(index, factor, getattr(thing, factor)) for factor in stated]
    found.append(Fact(None, "background", scene.background))
    if scene.relation:
        found.append(Fact(None, "relation", scene.relation))
    if scene.kind == "video" and level == "full":
        found.append(Fact(None, "camera", scene.camera))
    if scene.style != "none":
        found.append(Fact(None, "style", scene.style))
    return tuple(found)


def _details(thing: Thing, level: Level) -> list[str]:
    """Which of size and texture are stated."""
    changes = thing.motion in ("grow", "shrink")
    if level == "short":
        return []
    if level == "full":
        return ["texture"] if changes else ["size", "texture"]
    return ["texture"] if changes or thing.texture != "plain" else ["size"]


def _noun(thing: Thing, level: Level, draws: Draws) -> str:
    """`a small striped red star`."""
    details = _details(thing, level)
    words = []
    if "size" in details:
        words.append(draws.pick(SIZE_WORDS[thing.size]))
    if "texture" in details:
        words.append(draws.pick(TEXTURE_WORDS[thing.texture]))
    words += [draws.pick(COLOUR_WORDS[thing.colour]), draws.pick(SHAPE_WORDS[thing.shape])]
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def _verb(thing: Thing, level: Level, draws: Draws) -> tuple[str, str]:
    """What a thing does, in the third person and as a participle."""
    if thing.motion in WAYS:
        way = draws.pick(WAYS[thing.motion])
        forms = [f"{form} {way}" for form in draws.pick(TRAVEL_VERBS)]
    else:
        forms = list(draws.pick(MOTION_VERBS[thing.motion]))
    if level == "full" and thing.motion != "still":
        speed = draws.pick(SPEED_WORDS[thing.speed])
        if speed.endswith("ly") and draws.one() < 0.5:
            forms = [f"{speed} {form}" for form in forms]
        else:
            forms = [f"{form} {speed}" for form in forms]
    return forms[0], forms[1]


def _video_sentence(scene: Scene, level: Level, place: str, draws: Draws) -> str:
    nouns = [_noun(thing, level, draws) for thing in scene.things]
    verbs = [_verb(thing, level, draws) for thing in scene.things]
    if len(nouns) == 1:
        does, doing = verbs[0]
        return draws.pick(
            (
                f"{nouns[0]} {does} {place}",
                f"{place}, {nouns[0]} {does}",
                f"{nouns[0]} {doing} {place}",
                f"{nouns[0]}, {doing} {place}",
            )
        )
    first, relation, places = _order(scene, draws)
    one, other = nouns[first], nouns[1 - first]
    (does, doing), (other_does, other_doing) = verbs[first], verbs[1 - first]
    here, there = places
    return draws.pick(
        (
            f"{one} {does} {place}, {relation} {other} that {other_does}",
            f"{place}, {one} {does}, {relation} {other} {other_doing}",
            f"{one} {doing}, {relation} {other} {other_doing}, {place}",
            f"{place}, {here} {one} {does} and {there} {other} {other_does}",
            f"{here}, {one} {doing}, {there}, {other} {other_doing}, {place}",
            f"{relation} {other} that {other_does}, {one} {does} {place}",
        )
    )


def _image_sentence(scene: Scene, level: Level, place: str, draws: Draws) -> str:
    prefix = draws.pick(STYLE_WORDS[scene.style])
    nouns = [_noun(thing, level, draws) for thing in scene.things]
    if len(nouns) == 1:
        options = [f"{prefix} {nouns[0]} {place}"]
        if scene.style == "none":
            options.append(f"{place}, {nouns[0]}")
        return draws.pick(tuple(options))
    first, relation, (here, there) = _order(scene, draws)
    one, other = nouns[first], nouns[1 - first]
    return draws.pick(
        (
            f"{prefix} {one} {relation} {other} {place}",
            f"{prefix} {one} {here} and {other} {there}, {place}",
            f"{prefix} {one} {place}, {relation} {other}",
        )
    )


def _order(scene: Scene, draws: Draws) -> tuple[int, str, tuple[str, str]]:
    """Which thing is named first, its relation to the other, and where each of the two stands."""
    first = draws.pick((0, 1))
    if scene.relation == "left of":
        relations = (("to the left of", "left of"), ("to the right of", "right of"))
        places = (("on the left", "on the right"), ("on the left side", "on the right side"))
    else:
        relations = (("above", "higher than"), ("below", "lower than"))
        places = (("at the top", "at the bottom"), ("in the upper part", "in the lower part"))
    where = draws.pick(places)
    ordered = where if first == 0 else (where[1], where[0])
    return first, draws.pick(relations[first]), ordered


def _tidy(sentence: str) -> str:
    return re.sub(r"\s+", " ", sentence).strip()


def _vocabulary() -> Words:
    """Every word that a caption can hold, sorted."""
    texts = [_FRAME_WORDS]
    tables = (
        SHAPE_WORDS,
        COLOUR_WORDS,
        SIZE_WORDS,
        TEXTURE_WORDS,
        BACKGROUND_WORDS,
        SPEED_WORDS,
        CAMERA_WORDS,
        STYLE_WORDS,
        WAYS,
    )
    texts += [phrase for table in tables for phrases in table.values() for phrase in phrases]
    texts += [form for forms in TRAVEL_VERBS for form in forms]
    texts += [form for verbs in MOTION_VERBS.values() for forms in verbs for form in forms]
    return tuple(sorted({word for text in texts for word in text.split()}))


VOCABULARY: Words = _vocabulary()
"""Every word that occurs in captions."""
