"""Whether a few steps on anyone's own footage help on footage that was held out.

Command: `python -m benchmarks.own_footage FOLDER OUT [STEPS]`, 200 steps by default. FOLDER holds
videos; one without `NAME.txt` beside it is captioned with its name. The first three quarters of
each video are trained on, the last quarter is what all figures are of. Each stage goes on from the
shipped weights by its recipe in `mutoscope.recipes.own`. Truth, key frames and results of base and
interpolation have been through the autoencoder, which was made for the world: figures compare ways,
and do not say how good films look. Of the interpolation counts what changes from key frame to key
frame: where nothing moves, repetition cannot be beaten.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from mutoscope.data.sources import FolderSource
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.pairs import Pairs
from mutoscope.errors import DataError, MutoscopeError
from mutoscope.metrics.between import psnr
from mutoscope.recipes import own
from mutoscope.recipes.between_samples import InterpolationSamples, source_examples
from mutoscope.recipes.interpolation import InterpolationTask
from mutoscope.recipes.parents import FPS, load_codec, load_text
from mutoscope.recipes.samples import SIZE
from mutoscope.recipes.ship import SHIPPED, unpack
from mutoscope.recipes.super_resolution import FPS as SMOOTH_FPS
from mutoscope.recipes.super_resolution import LARGE, EnlargedSamples, SuperResolutionTask
from mutoscope.recipes.tasks import LAW, NUM_FRAMES
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.training.initialise import from_seed
from mutoscope.training.learner import Learner, accelerator_for
from mutoscope.training.prefetch import prefetched
from mutoscope.training.recipe import Recipe
from mutoscope.video.files import probe, read_clip, write_video
from mutoscope.video.frames import to_floats

SUFFIXES = {".mp4", ".webm", ".mov", ".mkv"}
TRAINED_ON = 0.75
HELD_OUT_CLIPS = 8
TIME = 500.0  # half way between clean and noise
Figures = Mapping[str, float]
Evaluate = Callable[[Mapping[str, nn.Module], Path], Figures]


def split(folder: Path, out: Path) -> None:
    """Cuts each video in time into `out/train` and `out/held_out`, captions beside."""
    videos = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not videos:
        raise DataError(f"{folder} holds no video ({', '.join(sorted(SUFFIXES))}). Put some there.")
    for path in videos:
        info, text = probe(path), path.with_suffix(".txt")
        caption = text.read_text() if text.is_file() else path.stem.replace("_", " ")
        cut = int(TRAINED_ON * info.num_frames)
        parts = {"train": (0, cut), "held_out": (cut, info.num_frames - 1)}
        for name, (first, last) in parts.items():
            place = out / name / f"{path.stem}.mp4"
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
    """Evaluates a base model: the PSNR of clips whose noise of time 500 it takes away at once."""
    clips = [held_out.clip(number) for number in range(min(HELD_OUT_CLIPS, len(held_out)))]

    @torch.inference_mode()
    def evaluate(modules: Mapping[str, nn.Module], folder: Path) -> Figures:
        stage = stage_of(modules["network"])
        found = []
        for seed, (frames, captions) in enumerate(clips):
            clean = codec.encode(to_floats(frames)[None])
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
            now = torch.tensor([TIME])
            noisy = stage.process.add_noise(clean, noise, now)
            prediction = stage.predict(noisy, now, stage.describe([captions[0]]))
            made = codec.decode(stage.process.clean_from(prediction, noisy, now)).clamp(-1, 1)
            truth = codec.decode(clean).clamp(-1, 1)
            everywhere = torch.ones(1, *frames.shape[:3], dtype=torch.bool)
            found.append(float(psnr(made, truth, everywhere)))
        return {"denoised": sum(found) / len(found)}

    return evaluate


def learn(
    recipe: Recipe, runs: Path, data: Path, out: Path, evaluate: Evaluate
) -> tuple[Figures, Figures, float]:
    """Figures before and after the recipe's steps, and seconds a step."""
    parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
    run = from_seed(recipe.seed, lambda: recipe.task.prepare(parents, data, "cpu", out / "work"))
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


def main(folder: Path, out: Path, steps: int) -> None:
    """Trains each stage and prints the table."""
    split(folder, out)
    runs = out / "runs"
    unpack(SHIPPED, runs)
    codec = load_codec(runs / "autoencoder" / "model", "cpu")
    text = load_text(runs / "words" / "model", "cpu")
    rest = out / "held_out"
    table = Table(title=f"On the last quarter of each video, {steps} steps")
    for heading in ("stage", "figure", "start", "trained", "to compare with", "s / step"):
        table.add_column(heading)

    def row(recipe: Recipe, evaluate: Evaluate, figures: Mapping[str, tuple[str, ...]]) -> None:
        """Trains one stage; figures -> those after training that stand beside them."""
        recipe = replace(recipe, steps=steps)
        before, after, seconds = learn(recipe, runs, out / "train", out, evaluate)
        for name, others in figures.items():
            beside = ", ".join(f"{other.split('_')[0]} {after[other]:.2f}" for other in others)
            found = f"{before[name]:.2f}", f"{after[name]:.2f}", beside, f"{seconds:.2f}"
            table.add_row(recipe.name, name, *found)

    source = FolderSource(folder=rest, num_frames=NUM_FRAMES, fps=FPS, size=SIZE)
    evaluate = denoised(source, codec, lambda network: KeyFrames(network, LAW, text))
    row(own.base(), evaluate, {"denoised": ()})

    between = own.interpolation().task
    assert isinstance(between, InterpolationTask)
    long = FolderSource(
        folder=rest, num_frames=between.num_frames, fps=between.factor * FPS, size=SIZE
    )
    filled = InterpolationSamples(
        LAW,
        text,
        codec,
        between.factor,
        source_examples(long, HELD_OUT_CLIPS, factor=between.factor),
    )
    row(
        own.interpolation(),
        lambda modules, folder: filled(modules, 0, folder),
        {
            f"interpolated_{region}_psnr_db": tuple(
                f"{other}_{region}_psnr_db" for other in ("repeated", "blended")
            )
            for region in ("changing", "frame")
        },
    )

    larger = own.super_resolution().task
    assert isinstance(larger, SuperResolutionTask)
    high = FolderSource(folder=rest, num_frames=8, fps=SMOOTH_FPS, size=LARGE)
    clips = [high.clip(number) for number in range(min(4, len(high)))]
    pairs = Pairs(load_codec(runs / "autoencoder4" / "model", "cpu"), detail=larger.detail)
    enlarged = EnlargedSamples(
        LAW, text, pairs, [(frames, captions[0]) for frames, captions in clips]
    )
    row(
        own.super_resolution(),
        lambda modules, folder: enlarged(modules, 0, folder),
        {"enlarged_psnr_db": ("bicubic_psnr_db",)},
    )
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m benchmarks.own_footage FOLDER OUT [STEPS]")
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 200)
    except MutoscopeError as problem:
        sys.exit(str(problem))
