"""What a model knows of a word that it was taught, and what it still knows of the others.

Command: `python -m benchmarks.new_word pictures FOLDER`, then `mutoscope personalize FOLDER --name
zorb --out zorb`, then `python -m benchmarks.new_word measure zorb [MODEL]`. The ten pictures show a
thing that no split of the world has. Measured is the error of the prediction on 32 others of it,
before and after, and on 64 other stills of the world under their captions, with the same noise.
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mutoscope.diffusion.process import process_from
from mutoscope.diffusion.times import UniformTimes
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.recipes.samples import pixels, scenes_to_test
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems import System, load
from mutoscope.types import Batch, Loss
from mutoscope.world.concept import unseen_scene
from mutoscope.world.grammar import caption
from mutoscope.world.render import render
from mutoscope.world.scene import Scene

PICTURES, SHOWN, OTHERS, DRAWS = 10, 32, 64, 8
FIRST = 600_000  # no other figure uses the scenes from there on


def write_pictures(folder: Path) -> None:
    """Ten pictures of the thing, from scenes of the training split."""
    folder.mkdir(parents=True)
    for seed in range(PICTURES):
        frames = render(unseen_scene(seed), num_frames=1)
        Image.fromarray(frames[0]).save(folder / f"{seed}.png")


class Errors(KeyFrames):
    """KeyFrames whose report has the error of each row, under its own caption."""

    def reduce(self, error: Tensor, batch: Batch) -> Loss:
        self.rows = error.mean(dim=(1, 2, 3, 4))
        return super().reduce(error, batch)


def errors(system: System, scenes: list[Scene], captions: list[str]) -> Tensor:
    """The mean error on each still, over the same draws of time and noise whatever the model."""
    text = TextEncoder(system.text_encoder, system.tokenizer)
    process, times = process_from(system.scheduler), UniformTimes(shift=2.0)
    stage = Errors(system.base, process, text, text_dropout=0.0, times=times)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        latents = LatentCodec(system.vae).encode(pixels(scenes, num_frames=1, fps=8.0))
        batch = Batch(captions=tuple(captions), latents=latents)
        found = []
        for _ in range(DRAWS):
            stage.loss(batch, generator)
            found.append(stage.rows)
    return torch.stack(found).mean(dim=0)


def measure(folder: Path, model: str) -> None:
    untouched, taught = load(model), load(model).load_lora(folder)
    shown = [unseen_scene(FIRST + number, split="test") for number in range(SHOWN)]
    others = scenes_to_test(OTHERS, "image", first=FIRST)
    asked = {
        "pictures of it that were not shown": (shown, ["a zorb"] * SHOWN),
        "other stills": (others, [caption(scene, level="short", seed=0) for scene in others]),
    }
    for name, (scenes, captions) in asked.items():
        before, after = (errors(system, scenes, captions) for system in (untouched, taught))
        less = before - after
        print(
            f"{name}: error {float(before.mean()):.4f} before, {float(after.mean()):.4f} after, "
            f"{1000 * float(less.mean()):+.1f} thousandths less "
            f"(± {1960 * float(less.std()) / len(less) ** 0.5:.1f}), less in "
            f"{100 * float((less > 0).float().mean()):.0f} % of {len(less)}"
        )


if __name__ == "__main__":
    what, place, *rest = sys.argv[1:]
    if what == "pictures":
        write_pictures(Path(place))
    else:
        measure(Path(place), *(rest or ["lavie-mini"]))
