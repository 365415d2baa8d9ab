"""Whether a few steps on anyone's own footage help on footage that was held out.

Command: `python -m benchmarks.own_footage FOLDER OUT [STEPS]`, 200 steps by default. FOLDER holds
videos; one without `NAME.txt` beside it is captioned with its name. The first three quarters of
each video are trained on, the last quarter is what all figures are of. Each stage starts from the
shipped weights; where none are shipped, interpolation starts from the base model, as its recipe
does, and super-resolution is left out. Truth, key frames and results of base and interpolation have
been through the autoencoder, which was made for the world: figures compare ways, and do not say how
good films look.
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

import mutoscope
from mutoscope.data.sources import FolderSource
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.pairs import Pairs
from mutoscope.errors import DataError, MutoscopeError
from mutoscope.metrics.between import psnr
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.between_samples import InterpolationSamples, source_examples
from mutoscope.recipes.curriculum import BASE, last_finished
from mutoscope.recipes.interpolation import InterpolationTask
from mutoscope.recipes.mini import autoencoder, autoencoder4, words
from mutoscope.recipes.parents import FPS, load_codec, load_text
from mutoscope.recipes.samples import SIZE
from mutoscope.recipes.ship import unpack
from mutoscope.recipes.super_resolution import FPS as SMOOTH_FPS
from mutoscope.recipes.super_resolution import LARGE, EnlargedSamples, SuperResolutionTask
from mutoscope.recipes.tasks import LAW, NUM_FRAMES, DenoiserTask
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.training.initialise import from_seed
from mutoscope.training.learner import Learner, accelerator_for
from mutoscope.training.optim import Muon, Schedule
from mutoscope.training.prefetch import prefetched
from mutoscope.training.recipe import Recipe, Task
from mutoscope.video.files import probe, read_clip, write_video
from mutoscope.video.frames import to_floats

SUFFIXES = {".mp4", ".webm", ".mov", ".mkv"}
TRAINED_ON = 0.75
HELD_OUT_CLIPS = 4
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
    recipe: Recipe,
    parents: Mapping[str, Path],
    data: Path,
    out: Path,
    evaluate: Evaluate,
    start: VideoUNet | None,
) -> tuple[Figures, Figures, float]:
    """Figures before and after the recipe's steps, and seconds a step."""
    run = from_seed(recipe.seed, lambda: recipe.task.prepare(parents, data, "cpu", out / "work"))
    learner = Learner(recipe, run.objective, accelerator_for(recipe, "cpu"))
    if start is not None:
        learner.modules["network"].load_state_dict(start.state_dict())
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
    if not runs.exists():
        unpack(Path(mutoscope.__file__).parent / "mini", runs)
    last = last_finished(runs)
    models = {name: runs / name / "model" for name in ("autoencoder", "words")}
    models[BASE.name] = runs / last.name / "model"  # the name under which recipes look for it
    codec, text = load_codec(models["autoencoder"], "cpu"), load_text(models["words"], "cpu")
    train, rest = out / "train", out / "held_out"

    def recipe(name: str, task: Task, parents: tuple[Recipe, ...] = ()) -> Recipe:
        return Recipe(
            name=f"own-{name}",
            task=task,
            parents=(autoencoder(), words(), *parents),
            steps=steps,
            optimizer=Muon(lr=5e-4),
            schedule=Schedule(warmup=10, decay=0.5, shape="cosine"),
            ema=0.98,
            precision="bf16",
        )

    table = Table(title=f"PSNR (dB) on the last quarter of each video, {steps} steps")
    for heading in ("stage", "figure", "start", "trained", "to compare with", "s / step"):
        table.add_column(heading)

    def row(stage: str, name: str, result: tuple[Figures, Figures, float], *others: str) -> None:
        before, after, seconds = result
        beside = ", ".join(f"{other} {after[other]:.2f}" for other in others) or "-"
        table.add_row(
            stage, name, f"{before[name]:.2f}", f"{after[name]:.2f}", beside, f"{seconds:.2f}"
        )

    source = FolderSource(folder=rest, num_frames=NUM_FRAMES, fps=FPS, size=SIZE)
    assert isinstance(last.task, DenoiserTask)
    task = replace(
        last.task, clips=1, images_per_clip=0, batch_size=4, stride=1, time_shift=2.0, samples=1
    )
    evaluate = denoised(source, codec, lambda network: KeyFrames(network, LAW, text))
    row("base", "denoised", learn(recipe("base", task), models, train, out, evaluate, None))

    between = InterpolationTask(batch_size=4, samples=1)
    long = FolderSource(
        folder=rest, num_frames=between.num_frames, fps=between.factor * FPS, size=SIZE
    )
    filled = InterpolationSamples(
        LAW, text, codec, between.factor, source_examples(long, HELD_OUT_CLIPS)
    )
    shipped = runs / "interpolation" / "model" / "interpolator"
    start = VideoUNet.from_pretrained(shipped) if shipped.is_dir() else None
    result = learn(
        recipe("interpolation", between),
        models,
        train,
        out,
        lambda modules, folder: filled(modules, 0, folder),
        start,
    )
    names = [name for name in result[1] if name.startswith("interpolated")]
    for name in names:
        others = (name.replace("interpolated", each) for each in ("repeated", "blended"))
        row("interpolation", name, result, *others)

    upscaler = runs / "super_resolution" / "model"
    if upscaler.is_dir():
        larger = SuperResolutionTask(
            num_frames=8, most_known=3, clips=1, batch_size=2, trained="temporal", samples=1
        )
        models |= {"autoencoder4": runs / "autoencoder4" / "model", "upscaler": upscaler}
        high = FolderSource(folder=rest, num_frames=8, fps=SMOOTH_FPS, size=LARGE)
        clips = [high.clip(number) for number in range(min(2, len(high)))]
        enlarged = EnlargedSamples(
            LAW,
            text,
            Pairs(load_codec(models["autoencoder4"], "cpu"), detail=larger.detail),
            [(frames, captions[0]) for frames, captions in clips],
        )
        result = learn(
            recipe("super-resolution", larger, (autoencoder4(),)),
            models,
            train,
            out,
            lambda modules, folder: enlarged(modules, 0, folder),
            None,
        )
        row("super-resolution", "enlarged_psnr_db", result, "bicubic_psnr_db")
    console = Console()
    console.print(table)
    if not upscaler.is_dir():
        console.print("super-resolution: left out, this copy of the package ships no upscaler")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python -m benchmarks.own_footage FOLDER OUT [STEPS]")
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 200)
    except MutoscopeError as problem:
        sys.exit(str(problem))
