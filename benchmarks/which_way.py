"""Whether a model knows which way a caption says a thing moves.

Command: `python -m benchmarks.which_way [CLIPS [MODEL]]`. True test clips of one thing that moves
in one of the eight directions, grows or shrinks are given noise, and the model predicts it under
their caption and under that of the same clip played backwards. A model that has not understood
direction errs alike under both, long before samples show anything; one that has errs less under
its own in most clips. Beside it stands what there is to be learned: how much of where things are
is told by motion and frame together, by motion alone, and by the motion of the clip played
backwards.
"""

import sys
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from torch import Generator

from mutoscope.diffusion.process import process_from
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems import load
from mutoscope.video.frames import to_floats
from mutoscope.world.grammar import caption
from mutoscope.world.labels import MAX_THINGS, covers
from mutoscope.world.render import render
from mutoscope.world.scene import MOTIONS, Scene, draw_scene

TIMES = (850, 900, 950, 980)
FIRST_SCENE = 500_000
AT_ONCE = 8
STATISTICS = 6_000
FRAMES, FPS, GRID = 16, 8.0, (10, 16)
_PAIRS = (
    ("right", "left"),
    ("up", "down"),
    ("up right", "down left"),
    ("up left", "down right"),
    ("grow", "shrink"),
    ("pan right", "pan left"),
)
BACKWARDS = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}


def backwards(scene: Scene) -> Scene:
    """The scene with the words of its clip played backwards; where things start stays."""
    things = tuple(
        replace(thing, motion=BACKWARDS.get(thing.motion, thing.motion)) for thing in scene.things
    )
    return replace(scene, camera=BACKWARDS.get(scene.camera, scene.camera), things=things)


def scenes(count: int, *, directed: bool) -> list[Scene]:
    """The first test scenes of one thing, from a number on that no other figure uses."""
    found: list[Scene] = []
    number = FIRST_SCENE
    while len(found) < count:
        scene = draw_scene(number, split="test", kind="video")
        wanted = scene.things[0].motion in BACKWARDS or not directed
        found += [scene] if wanted and scene.arrangement == "single" else []
        number += 1
    return found


def to_be_learned(console: Console) -> None:
    """How much of the variance of where things are is explained by what a caption says of it."""
    drawn = scenes(STATISTICS, directed=False)
    parts = (drawn[first : first + 100] for first in range(0, len(drawn), 100))
    shown = np.concatenate(
        [covers(part, num_frames=FRAMES, fps=FPS, grid=GRID) != MAX_THINGS for part in parts]
    )
    motion = np.array([MOTIONS.index(scene.things[0].motion) for scene in drawn])
    other = np.array([MOTIONS.index(backwards(scene).things[0].motion) for scene in drawn])
    half = STATISTICS // 2
    means = np.stack([shown[:half][motion[:half] == each].mean(0) for each in range(len(MOTIONS))])
    seen, average = shown[half:], shown[:half].mean((0, 1))

    def explained(guess: np.ndarray) -> float:
        return 100 * float(1 - np.square(seen - guess).mean() / np.square(seen - average).mean())

    console.print(
        f"told of where things are: by motion and frame {explained(means[motion[half:]]):.1f} %, "
        f"by motion {explained(means[motion[half:]].mean(1, keepdims=True)):.1f} %, by frame and "
        f"the motion played backwards {explained(means[other[half:]]):.1f} %",
        highlight=False,
        soft_wrap=True,
    )


def main(count: int, model: str) -> None:
    system, console = load(model), Console()
    to_be_learned(console)
    codec = LatentCodec(system.vae)
    text = TextEncoder(system.text_encoder, system.tokenizer)
    stage = KeyFrames(system.base, process_from(system.scheduler), text)
    asked = scenes(count, directed=True)
    for time in TIMES:
        rows = []
        for first in range(0, count, AT_ONCE):
            part = asked[first : first + AT_ONCE]
            clips = [to_floats(render(s, num_frames=FRAMES, fps=FPS)) for s in part]
            with torch.inference_mode():
                clean = codec.encode(torch.stack(clips))
                noise = torch.randn(clean.shape, generator=Generator().manual_seed(first))
                now = torch.full((len(part),), float(time))
                noisy = stage.process.add_noise(clean, noise, now)
                target = stage.process.target(clean, noise, now)
                errors = []
                for told in (part, [backwards(scene) for scene in part]):
                    words = stage.describe([caption(s, level="full", seed=s.seed) for s in told])
                    error = stage.predict(noisy, now, words) - target
                    errors.append(error.square().mean((1, 2, 3, 4)))
            rows.append(torch.stack(errors))
        right, wrong = torch.cat(rows, dim=1)
        less = float((right < wrong).float().mean())
        worth = 1000 * (wrong - right)
        console.print(
            f"noise of time {time}: error {float(right.mean()):.4f}, under the clip played "
            f"backwards {float(worth.mean()):+.2f} thousandths "
            f"(± {1.96 * float(worth.std()) / count**0.5:.2f}), less under the right caption in "
            f"{100 * less:.0f} % of {count} clips",
            highlight=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 96, given[1] if len(given) > 1 else "lavie-mini")
