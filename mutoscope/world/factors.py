"""What a scene is made of: the names of every factor and the sizes and speeds behind the names.

Lengths are in frame heights (1.0 = 80 px of the reference frame of 80x128), times in seconds,
angles in radians; x grows to the right and y grows downwards.
"""

import math
from typing import Literal, get_args

Split = Literal["train", "test", "held-out"]
Kind = Literal["video", "image"]
Level = Literal["short", "plain", "full"]
Arrangement = Literal["single", "horizontal", "vertical"]

LEVELS: tuple[Level, ...] = get_args(Level)
ARRANGEMENTS: tuple[Arrangement, ...] = get_args(Arrangement)

SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "crescent")
IMAGE_ONLY_SHAPES = ("flower", "arrow")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SIZES = ("small", "medium", "large")
TEXTURES = ("plain", "striped", "dotted")
BACKGROUNDS = ("sea", "night", "dunes", "meadow", "city", "snow")
DIRECTIONS = (
    "right",
    "left",
    "up",
    "down",
    "up right",
    "up left",
    "down right",
    "down left",
)
MOTIONS = (*DIRECTIONS, "bounce", "orbit", "spin", "grow", "shrink", "still")
SPEEDS = ("slow", "normal", "fast")
CAMERAS = ("still", "pan left", "pan right")
RELATIONS = ("left of", "above")
STYLES = ("none", "pencil sketch", "pixel art", "neon")
IMAGE_ONLY_STYLES = STYLES[1:]
UNSEEN_SHAPE, UNSEEN_TEXTURE = "hourglass", "checked"
"""In no split: what a finished model is taught and measured with, see `world.concept`."""

ASPECT = 1.6
"""Width of the reference frame; what lies beside it is seen in wider renders only."""
CLIP_SECONDS = 15 / 8
"""The reference clip: 16 frames at 8 fps are 15 intervals."""
CLIP_FRAMES = 16

DIAMETER = {"small": 28 / 80, "medium": 34 / 80, "large": 41 / 80}
"""Such that a small square is three latent cells wide, and no small shape narrower than 23 px."""
OUTLINE = 0.61
"""The circle around any shape, as a part of its diameter (half the diagonal of the square)."""

# How far things go in one reference clip, by speed.
TRAVEL = {"slow": 25 / 80, "normal": 37 / 80, "fast": 52 / 80}
BOUNCE_PATH = {"slow": 60 / 80, "normal": 90 / 80, "fast": 135 / 80}
ORBIT_ANGLE = {"slow": math.pi, "normal": 1.5 * math.pi, "fast": 2.25 * math.pi}
ORBIT_RADIUS = 20 / 80
SPIN_ANGLE = {"slow": math.radians(120), "normal": math.radians(200), "fast": math.radians(300)}
GROWTH = {"slow": 24 / 80, "normal": 31 / 80, "fast": 40 / 80}
PAN = 42 / 80
"""How far the nearest layer of the background moves in one clip while the camera pans."""

HEADING = {
    "right": (1.0, 0.0),
    "left": (-1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
    "up right": (math.sqrt(0.5), -math.sqrt(0.5)),
    "up left": (-math.sqrt(0.5), -math.sqrt(0.5)),
    "down right": (math.sqrt(0.5), math.sqrt(0.5)),
    "down left": (-math.sqrt(0.5), math.sqrt(0.5)),
}
