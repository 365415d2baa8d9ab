"""What LaVie says of attention over time, run again at the size of the miniature.

Written down before any run. Both claims compare ways in which frames attend to each other. Arms
start from one network, the stills' part of the last base model in RUNS, get new time layers that
start as nothing, and learn only these: equal steps, clips of 16 frames, batches and step sizes.
Three seeds of first weights, data order and noise each.

* Arms: `rope`, the same place in all frames with RoPE (LaVie's); `sinusoidal` and `learned`, the
  same with absolute positions added in place of RoPE, the Transformer's sinusoid or a table whose
  rows 16 to 63 training never shows; `causal`, RoPE, each frame sees itself and those before;
  `clip`, RoPE, each place sees all places of all frames (full spatio-temporal attention).
* Metric: squared error of the prediction on 48 true test clips of 32 frames, mean over noise of
  times 500, 750 and 900, the same noise for all. Nothing is sampled, so that little data tells arms
  apart; the paper's own figures are of samples and cannot be compared with these. Three ways:
  `16 frames`, the first half alone, as long as in training; `32 as halves`, each half by itself;
  `32 in one go`. `cost of length` is by how much the error in one go is above that as halves, in
  percent: the same frames in the same noise, so that below 0 more frames help, and above 0 the
  network has lost its way.
* Intervals, 95 %, by bootstrap over seeds and clips together; arms are compared clip by clip.

**Positions** (arXiv 2309.15103 Table 7: RoPE .96 at 16 frames and .93 at 32, absolute .90 and
.62). Of each absolute arm, relative to `rope`: the claim *holds at 32 frames* if its error in one
go is higher and its cost of length is higher, both intervals above 0; it *fails* if either lies
below 0; else it is *not shown*. At 16 frames it is *worse*, *better* or *no different* as the
interval of its relative error lies above 0, below, or across.

**Patterns** (Table 6). Of `causal` and `clip`, relative to `rope`, at 16 frames: quality is
*worse*, *better* or *no different* likewise; training is *slower*, *faster* or *no different* by
the interval of the ratio of step times, taken in turns, 8 rounds after one to warm up. The claim
holds of a pattern if it is neither better nor faster, or if it is worse.

Cost at full scale: some 7 core-minutes a run of 600 steps, `clip` three times that, one minute to
measure: positions 75 core-minutes (9 runs), patterns 90 more (6 runs, since `rope` is shared).

Command: `python -m mutoscope.recipes.temporal_claims positions RUNS` or `patterns RUNS`, after
`python -m mutoscope.recipes.ship --unpack RUNS` or the chain itself. The same command goes on after
it was stopped. Written are `RUNS/positions.json` and `.png`.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Generator, Tensor

from mutoscope.errors import MutoscopeError
from mutoscope.metrics.interval import Interval, interval
from mutoscope.recipes import mini
from mutoscope.recipes.claim_report import Figures, Report, by_run, kept, publish
from mutoscope.recipes.curriculum import NewTimeTask, last_finished
from mutoscope.recipes.parents import FPS, load_codec, load_text, load_unet, text_of
from mutoscope.recipes.samples import pixels, scenes_to_test
from mutoscope.recipes.tasks import NUM_FRAMES
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.training.initialise import from_seed
from mutoscope.training.learner import Learner, accelerator_for
from mutoscope.training.optim import Muon, Schedule
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import train
from mutoscope.types import Latents
from mutoscope.world.grammar import caption

Arm = Literal["rope", "sinusoidal", "learned", "causal", "clip"]
ARMS: Mapping[Arm, Mapping[str, Any]] = {
    "rope": {},
    "sinusoidal": {"rotary_dim": 0, "absolute_positions": "sinusoidal"},
    "learned": {"rotary_dim": 0, "absolute_positions": "learned"},
    "causal": {"temporal_pattern": "causal"},
    "clip": {"temporal_pattern": "clip"},
}
CLAIMS: Mapping[str, tuple[Arm, ...]] = {
    "positions": ("rope", "sinusoidal", "learned"),
    "patterns": ("rope", "causal", "clip"),
}
TIMES = (500.0, 750.0, 900.0)
FIRST_SCENE = 700_000  # no other figure uses the scenes from there on
AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the experiments are; the defaults are what the rule was written for.

    Attributes:
        steps: Of each run.
        clips: Training clips of the world.
        seeds: Of the runs of each arm.
        shown: Test clips.
        rounds: In which step times are taken in turns.
    """

    steps: int = 600
    clips: int = 1_200
    seeds: tuple[int, ...] = (0, 1, 2)
    shown: int = 48
    rounds: int = 8


def arm(name: Arm, seed: int, scale: Scale, start: Recipe) -> Recipe:
    """One run of one arm, whose knowledge of stills is that of `start`."""
    return Recipe(
        name=f"time-{name}-{seed}",
        task=NewTimeTask(
            clips=scale.clips,
            images_per_clip=0,
            batch_size=2,
            time_shift=2.0,
            trained="temporal",
            seed=200 + seed,
            samples=0,
            **ARMS[name],
        ),
        parents=(mini.autoencoder(), mini.words(), start),
        steps=scale.steps,
        optimizer=Muon(lr=2e-3),
        schedule=Schedule(warmup=20, decay=0.4, shape="cosine"),
        ema=0.99,
        precision="bf16",
        seed=200 + seed,
        evaluate_every=scale.steps,
        save_every=50,
    )


def run(claim: str, runs: Path, scale: Scale) -> Report:
    """Trains what is not yet trained, measures what is not yet measured, and judges."""
    console, start = Console(stderr=True), last_finished(runs)
    tables: dict[str, Mapping[str, NDArray[np.float64]]] = {}
    for name in CLAIMS[claim]:
        recipes = [arm(name, seed, scale, start) for seed in scale.seeds]
        tables[name] = by_run(
            recipes,
            lambda recipe: measure(recipe, train(recipe, runs, console=console), runs, scale),
            folder=runs / "measured",
            told={"shown": scale.shown, "times": list(TIMES)},
        )
    if claim == "positions":
        return judge_positions(tables)
    return judge_patterns(tables, step_times(runs, scale, start))


def measure(recipe: Recipe, model: Path, runs: Path, scale: Scale) -> Figures:
    """Errors of a finished run on each test clip, in the three ways."""
    parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
    assert isinstance(recipe.task, NewTimeTask)
    stage = KeyFrames(
        load_unet(model).eval(), recipe.task.process, load_text(text_of(parents), "cpu")
    )
    codec = load_codec(parents["autoencoder"], "cpu")
    scenes = scenes_to_test(scale.shown, "video", first=FIRST_SCENE)
    figures: Figures = {}
    for first in range(0, len(scenes), AT_ONCE):
        part = scenes[first : first + AT_ONCE]
        with torch.inference_mode():
            clean = codec.encode(pixels(part, num_frames=2 * NUM_FRAMES, fps=FPS))
            words = [caption(scene, level="full", seed=scene.seed) for scene in part]
            for name, values in errors(stage, clean, words, seed=first).items():
                figures[name] = figures.get(name, []) + values.tolist()
    return figures


def errors(stage: KeyFrames, clean: Latents, words: list[str], *, seed: int) -> dict[str, Tensor]:
    """Mean squared error of the prediction on each clip (B) of 32 frames, in the three ways.

    Args:
        stage: The denoiser.
        clean: The clips.
        words: Their captions.
        seed: Of the noise.
    """
    told = stage.describe(words)
    halves = clean.shape[2] // 2
    found: dict[str, list[Tensor]] = {"16 frames": [], "32 as halves": [], "32 in one go": []}
    noise = torch.randn(clean.shape, generator=Generator().manual_seed(seed))
    for level in TIMES:
        now = torch.full((len(clean),), level)
        noisy = stage.process.add_noise(clean, noise, now)
        target = stage.process.target(clean, noise, now)
        parts = [
            stage.predict(each.contiguous(), now, told)
            for each in torch.split(noisy, halves, dim=2)
        ]
        whole = stage.predict(noisy, now, told)
        for name, prediction in (
            ("16 frames", parts[0]),
            ("32 as halves", torch.cat(parts, dim=2)),
            ("32 in one go", whole),
        ):
            wanted = target[:, :, : prediction.shape[2]]
            found[name].append((prediction - wanted).square().mean(dim=(1, 2, 3, 4)))
    return {name: torch.stack(each).mean(dim=0) for name, each in found.items()}


def step_times(runs: Path, scale: Scale, start: Recipe) -> Mapping[str, NDArray[np.float64]]:
    """Seconds of a training step of each pattern, one after the other in each round (1, rounds)."""
    names = CLAIMS["patterns"]
    recipes = {name: arm(name, scale.seeds[0], scale, start) for name in names}

    def measure_times() -> Figures:
        learners = {}
        accelerator = accelerator_for(recipes["rope"], "cpu")  # one: a second would end the first
        for name, recipe in recipes.items():
            parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
            prepare = partial(recipe.task.prepare, parents, None, "cpu", runs / "work")
            prepared = from_seed(recipe.seed, prepare)
            learner = Learner(recipe, prepared.objective, accelerator)
            learners[name] = (learner, prepared.batches(0))
        taken: Figures = {name: [] for name in names}
        for number in range(scale.rounds + 1):
            for name, (learner, batch) in learners.items():
                began = time.perf_counter()
                learner.advance(iter([batch]), 0.0)
                if number > 0:
                    taken[name].append(time.perf_counter() - began)
        return taken

    made_from = {"recipes": [each.hash() for each in recipes.values()], "rounds": scale.rounds}
    taken = kept(runs / "measured" / "step_times.json", made_from, measure_times)
    return {name: np.array([row]) for name, row in taken.items()}


def judge_positions(tables: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Report:
    """The rule of the module's first page, on errors by run and clip of `CLAIMS["positions"]`."""
    verdicts = []
    own = tables["rope"]
    for name in CLAIMS["positions"][1:]:
        other = tables[name]
        short = relative(own["16 frames"], other["16 frames"])
        long = relative(own["32 in one go"], other["32 in one go"])
        dearer = interval(
            lambda a, b, c, d: 100 * (a / b - c / d),
            other["32 in one go"],
            other["32 as halves"],
            own["32 in one go"],
            own["32 as halves"],
        )
        claim = "is not shown"
        if min(long.low, dearer.low) > 0:
            claim = "holds"
        elif min(long.high, dearer.high) < 0:
            claim = "fails"
        verdicts.append(
            f"{name} against rope: at 16 frames {worded(short)} (error {short} %); at 32 in one go "
            f"error {long} %, cost of length {dearer} points: the claim {claim} at 32 frames."
        )
    return Report(
        name="positions",
        title="RoPE and absolute positions in time, trained on 16 frames",
        unit="squared error of the prediction; cost of length in percent",
        rows={name: row_of(table) for name, table in tables.items()},
        verdicts=verdicts,
    )


def judge_patterns(
    tables: Mapping[str, Mapping[str, NDArray[np.float64]]],
    seconds: Mapping[str, NDArray[np.float64]],
) -> Report:
    """The rule of the module's first page, on errors and step times of `CLAIMS["patterns"]`."""
    verdicts = []
    rows: dict[str, Mapping[str, Interval]] = {}
    for name in CLAIMS["patterns"]:
        pace = interval(lambda t: t, seconds[name])
        rows[name] = {**row_of(tables[name]), "s / step": pace}
        if name == "rope":
            continue
        quality = relative(tables["rope"]["16 frames"], tables[name]["16 frames"])
        slower = relative(seconds["rope"], seconds[name])
        holds = quality.low > 0 or (quality.high >= 0 and slower.high >= 0)
        verdicts.append(
            f"{name} against rope: {worded(quality)} (error {quality} %), "
            f"{worded(slower, ('slower', 'faster'))} (step time {slower} %): the claim "
            f"{'holds' if holds else 'fails'}."
        )
    return Report(
        name="patterns",
        title="What a place attends to over time, trained on 16 frames",
        unit="squared error of the prediction; cost of length in percent",
        rows=rows,
        verdicts=verdicts,
    )


def row_of(table: Mapping[str, NDArray[np.float64]]) -> dict[str, Interval]:
    """Each error with its interval, and the cost of length in percent."""
    row = {name: interval(lambda error: error, errors) for name, errors in table.items()}
    row["cost of length"] = relative(table["32 as halves"], table["32 in one go"])
    return row


def relative(own: NDArray[np.float64], other: NDArray[np.float64]) -> Interval:
    """By how many percent the mean of `other` is above that of `own`, run by run, clip by clip."""
    return interval(lambda a, b: 100 * (b / a - 1), own, other)


def worded(change: Interval, words: Sequence[str] = ("worse", "better")) -> str:
    """Whether an interval lies above 0, below, or across."""
    above, below = words
    return above if change.low > 0 else below if change.high < 0 else "no different"


def main(claim: str, runs: Path, scale: Scale | None = None) -> None:
    """Runs one claim of `CLAIMS` and publishes it in `runs`."""
    publish(run(claim, runs, scale or Scale()), runs, Console())


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in CLAIMS:
        sys.exit(f"usage: python -m mutoscope.recipes.temporal_claims {'|'.join(CLAIMS)} RUNS")
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except MutoscopeError as problem:
        sys.exit(str(problem))
