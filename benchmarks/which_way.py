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

import numpy as np
from rich.console import Console

from mutoscope.diffusion.process import process_from
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.recipes.worth import BACKWARDS, Worth, backwards, forwards, single_scenes
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems import load
from mutoscope.world.factors import MOTIONS
from mutoscope.world.labels import MAX_THINGS, covers

TIMES = (850.0, 900.0, 950.0, 980.0)
FIRST_SCENE = 500_000  # no other figure uses the scenes from there on
STATISTICS = 6_000
FRAMES, FPS, GRID = 16, 8.0, (10, 16)


def to_be_learned(console: Console) -> None:
    """How much of the variance of where things are is explained by what a caption says of it."""
    drawn = single_scenes(STATISTICS, "video", first=FIRST_SCENE)
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
    shown = Worth(LatentCodec(system.vae), FRAMES, FPS, count)
    text = TextEncoder(system.text_encoder, system.tokenizer)
    stage = KeyFrames(system.base, process_from(system.scheduler), text)
    asked = single_scenes(count, "video", first=FIRST_SCENE, motions=BACKWARDS)
    for time in TIMES:
        errors = shown.errors(stage, asked, (forwards, backwards), time=time)
        right, wrong = errors.mean((2, 3, 4)).T
        less = float((right < wrong).float().mean())
        worth = 1000 * (wrong - right)
        console.print(
            f"noise of time {time:g}: error {float(right.mean()):.4f}, under the clip played "
            f"backwards {float(worth.mean()):+.2f} thousandths "
            f"(± {1.96 * float(worth.std()) / count**0.5:.2f}), less under the right caption in "
            f"{100 * less:.0f} % of {count} clips",
            highlight=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 96, given[1] if len(given) > 1 else "lavie-mini")
