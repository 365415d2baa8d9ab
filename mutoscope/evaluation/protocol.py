"""What a model of the world is asked to draw: a fixed list of captions, hashed before training."""

import hashlib
import json
from dataclasses import dataclass

from mutoscope.world.factors import LEVELS, Level, Split
from mutoscope.world.grammar import caption
from mutoscope.world.scene import Scene, draw_scene


@dataclass(frozen=True)
class Prompt:
    """One caption to draw, and the scene whose truth it states.

    Attributes:
        text: The caption.
        scene: The scene that it describes.
        level: Of its detail; what it states of the scene.
    """

    text: str
    scene: Scene
    level: Level = "short"


def prompts(count: int, *, split: Split = "test") -> list[Prompt]:
    """The first `count` video captions of a split, as drawn: none is left out for being hard.

    Levels of detail take turns, and every one names shape, colour, motion and background.
    """
    scenes = [draw_scene(seed, split=split, kind="video") for seed in range(count)]
    levels = [LEVELS[seed % len(LEVELS)] for seed in range(count)]
    return [
        Prompt(caption(scene, level=level, seed=seed), scene, level)
        for seed, (scene, level) in enumerate(zip(scenes, levels, strict=True))
    ]


def fingerprint(asked: list[Prompt]) -> str:
    """Sixteen hex digits of a list of prompts with the truth behind each."""
    rows = [
        [
            prompt.text,
            prompt.scene.background,
            [[t.shape, t.colour, t.motion] for t in prompt.scene.things],
        ]
        for prompt in asked
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
