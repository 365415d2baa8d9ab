"""Whether a few steps on anyone's own footage help on footage that was held out.

Command: `python -m benchmarks.own_footage FOLDER OUT [STEPS]`, 200 steps by default. FOLDER holds
videos; one without `NAME.txt` beside it is captioned with its name. Three times two thirds of each
video are trained on and the third third is measured, with another seed each time, so that all of
each video is held out once. Each stage goes on from the shipped weights by its recipe in
`mutoscope.recipes.own`. Truth, key frames and results of base and interpolation have been through
the autoencoder, which was made for the world: figures compare ways, and do not say how good films
look. Of the interpolation counts what changes from key frame to key frame: where nothing moves,
repetition cannot be beaten; clips of five key frames are filled in, in 8 steps as `generate` does
and in 2, which show less grain and are nearer to the mean. Intervals of 95 % are over clips.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from mutoscope.data.sources import FolderSource
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.pairs import Pairs
from mutoscope.errors import DataError, MutoscopeError
from mutoscope.metrics.between import psnr
from mutoscope.metrics.interval import interval
from mutoscope.recipes import own
from mutoscope.recipes.between_samples import InterpolationSamples, source_examples
from mutoscope.recipes.interpolation import InterpolationTask
from mutoscope.recipes.parents import FPS, load_codec, load_text
from mutoscope.recipes.samples import SIZE
from mutoscope.recipes.ship import SHIPPED, unpack
from mutoscope.recipes.super_resolution import FPS as SMOOTH_FPS
from mutoscope.recipes.super_resolution import LARGE, EnlargedSamples, SuperResolutionTask
from mutoscope.recipes.tasks import LAW, NUM_FRAMES
from mutoscope.stages.interpolation import num_frames
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.training.initialise import from_seed
from mutoscope.training.learner import Learner, accelerator_for
from mutoscope.training.prefetch import prefetched
from mutoscope.training.recipe import Recipe
from mutoscope.video.files import probe, read_clip, write_video
from mutoscope.video.frames import to_floats

SUFFIXES = {".mp4", ".webm", ".mov", ".mkv"}
FOLDS = 3
STEPS = (8, 2)  # of the interpolation
LARGE_CLIPS = 4  # of a third, that are enlarged
TIME = 500.0  # half way between clean and noise
Figures = Mapping[str, float]
Evaluate = Callable[[Mapping[str, nn.Module], Path], list[Figures]]
"""Gives the figures of each clip that was held out."""


def split(folder: Path, out: Path, fold: int) -> None:
    """Cuts videos in three: one part to `out/held_out`, two to `out/train`, captions beside."""
    videos = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not videos:
        raise DataError(f"{folder} holds no video ({', '.join(sorted(SUFFIXES))}). Put some there.")
    for path in videos:
        info, text = probe(path), path.with_suffix(".txt")
        caption = text.read_text() if text.is_file() else path.stem.replace("_", " ")
        # The last frame of some files is shown no longer than it takes to end.
        cuts = [part * (info.num_frames - 1) // FOLDS for part in range(FOLDS + 1)]
        for part, (first, last) in enumerate(pairwise(cuts)):
            name = "held_out" if part == fold else "train"
            place = out / name / f"{path.stem}_{part}.mp4"
            if place.exists():
                continue
            frames = read_clip(
                path,
                start=first / info.fps,
                num_frames=last - first,
                fps=info.fps,
                size=LARGE,
            )
            write_video(place, frames, info.fps, {})
            place.with_suffix(".txt").write_text(caption)


def denoised(
    held_out: FolderSource, codec: LatentCodec, stage_of: Callable[..., KeyFrames]
) -> Evaluate:
    """Evaluates a base model: the PSNR of clips whose noise of time 500 it takes away at once,
    beside that of their first frame, shown all the time."""
    clips = [held_out.clip(number) for number in range(len(held_out))]

    @torch.inference_mode()
    def evaluate(modules: Mapping[str, nn.Module], folder: Path) -> list[Figures]:
        stage = stage_of(modules["network"])
        found: list[Figures] = []
        for seed, (frames, captions) in enumerate(clips):
            clean = codec.encode(to_floats(frames)[None])
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
            now = torch.tensor([TIME])
            noisy = stage.process.add_noise(clean, noise, now)
            prediction = stage.predict(noisy, now, stage.describe([captions[0]]))
            made = codec.decode(stage.process.clean_from(prediction, noisy, now)).clamp(-1, 1)
            truth = codec.decode(clean).clamp(-1, 1)
            everywhere = torch.ones(1, *frames.shape[:3], dtype=torch.bool)
            ways = {"denoised": made, "repeated": truth[:, :, :1].expand_as(truth)}
            found.append({name: float(psnr(way, truth, everywhere)) for name, way in ways.items()})
        return found

    return evaluate


def learn(
    recipe: Recipe, runs: Path, out: Path, evaluate: Evaluate
) -> tuple[list[Figures], list[Figures], float]:
    """Figures before and after the recipe's steps, and seconds a step."""
    parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
    run = from_seed(
        recipe.seed, lambda: recipe.task.prepare(parents, out / "train", "cpu", out / "work")
    )
    learner = Learner(recipe, run.objective, accelerator_for(recipe, "cpu"))
    sheets = out / recipe.name
    sheets.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        before = evaluate(learner.modules, sheets)
    began = time.perf_counter()
    with prefetched(run.batches, start=0) as batches:
        for step in range(recipe.steps):
            learner.advance(batches, step / recipe.steps)
    seconds = (time.perf_counter() - began) / recipe.steps
    with learner.average.in_place(learner.modules) as modules, torch.no_grad():
        return before, evaluate(modules, sheets), seconds


def alone(samples: Sequence[Callable[..., Figures]]) -> Evaluate:
    """Evaluates clips, each by what shows and measures it alone."""

    def evaluate(modules: Mapping[str, nn.Module], folder: Path) -> list[Figures]:
        found = []
        for number, sample in enumerate(samples):
            sheet = folder / f"clip{number}"
            sheet.mkdir(exist_ok=True)
            found.append(sample(modules, 0, sheet))
        return found

    return evaluate


def in_steps(sample: InterpolationSamples) -> Callable[..., Figures]:
    """What a sample shows in each number of steps, as "FIGURE in STEPS steps"."""

    def shown(modules: Mapping[str, nn.Module], step: int, folder: Path) -> Figures:
        return {
            f"{name} in {steps} steps": value
            for steps in STEPS
            for name, value in replace(sample, steps=steps)(modules, step, folder).items()
        }

    return shown


def evaluations(out: Path, runs: Path) -> dict[str, Evaluate]:
    """What each stage is measured by, on the clips in `out/held_out`."""
    codec = load_codec(runs / "autoencoder" / "model", "cpu")
    text = load_text(runs / "words" / "model", "cpu")
    rest = out / "held_out"
    source = FolderSource(folder=rest, num_frames=NUM_FRAMES, fps=FPS, size=SIZE)
    between = own.interpolation().task
    assert isinstance(between, InterpolationTask)
    long = FolderSource(
        folder=rest,
        num_frames=num_frames(between.keys_seen, factor=between.factor),
        fps=between.factor * FPS,
        size=SIZE,
    )
    examples = source_examples(long, len(long), factor=between.factor)
    larger = own.super_resolution().task
    assert isinstance(larger, SuperResolutionTask)
    high = FolderSource(folder=rest, num_frames=8, fps=SMOOTH_FPS, size=LARGE)
    clips = [high.clip(number) for number in range(min(LARGE_CLIPS, len(high)))]
    pairs = Pairs(load_codec(runs / "autoencoder4" / "model", "cpu"), detail=larger.detail)
    return {
        "base": denoised(source, codec, lambda network: KeyFrames(network, LAW, text)),
        "interpolation": alone(
            [
                in_steps(InterpolationSamples(LAW, text, codec, between.factor, [example]))
                for example in examples
            ]
        ),
        "super_resolution": alone(
            [
                EnlargedSamples(LAW, text, pairs, [(frames, captions[0])])
                for frames, captions in clips
            ]
        ),
    }


def main(folder: Path, out: Path, steps: int) -> None:
    """Trains each stage on each two thirds and prints the table."""
    runs = out / "runs"
    unpack(SHIPPED, runs)
    recipes = {
        "base": own.base(),
        "interpolation": own.interpolation(),
        "super_resolution": own.super_resolution(),
    }
    before: dict[str, list[Figures]] = {name: [] for name in recipes}
    after: dict[str, list[Figures]] = {name: [] for name in recipes}
    seconds: dict[str, list[float]] = {name: [] for name in recipes}
    for fold in range(FOLDS):
        place = out / f"without_{fold}"
        split(folder, place, fold)
        for name, evaluate in evaluations(place, runs).items():
            recipe = replace(recipes[name], steps=steps, seed=fold)
            first, last, each = learn(recipe, runs, place, evaluate)
            before[name] += first
            after[name] += last
            seconds[name].append(each)
            print(f"{name} without third {fold + 1}: {len(last)} clips, {each:.2f} s a step")
    table = Table(title=f"On the third of each video that was held out, {steps} steps")
    for heading in ("stage", "figure", "start", "trained", "beside", "gained", "s / step"):
        table.add_column(heading)
    for name, figure, beside in SHOWN:
        start, trained = ([each[figure] for each in found[name]] for found in (before, after))
        rivals = [[each[other] for each in after[name]] for other in beside]
        table.add_row(
            name,
            figure,
            *(f"{np.nanmean(each):.1f}" for each in (start, trained)),
            ", ".join(
                f"{other.split('_')[0]} {np.nanmean(each):.1f}"
                for other, each in zip(beside, rivals, strict=True)
            ),
            "; ".join(gain(trained, each) for each in (start, *rivals)),
            f"{np.mean(seconds[name]):.2f}",
        )
    Console(width=160).print(table)


def gain(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The mean difference, paired by clip; clips in which nothing changes have none."""
    both = np.array([ours, theirs], dtype=np.float64)
    both = both[:, np.isfinite(both).all(axis=0)]
    return str(interval(lambda one, other: one - other, both[:1], both[1:]))


SHOWN = (
    ("base", "denoised", ("repeated",)),
    *(
        (
            "interpolation",
            f"interpolated_{region}_psnr_db in {steps} steps",
            tuple(f"{way}_{region}_psnr_db in {steps} steps" for way in ("repeated", "blended")),
        )
        for steps in STEPS
        for region in ("changing", "frame")
    ),
    ("super_resolution", "enlarged_psnr_db", ("bicubic_psnr_db",)),
)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m benchmarks.own_footage FOLDER OUT [STEPS]")
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 200)
    except MutoscopeError as problem:
        sys.exit(str(problem))
