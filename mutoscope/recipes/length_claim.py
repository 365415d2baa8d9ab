"""Table 7 of LaVie as the paper has it: clips of twice the length trained on, drawn and judged.

Written down before any clip was drawn, but for the number of prompts, which was halved, for time,
before any figure was looked at. The arms are those of `temporal_claims positions`, three
seeds each: RoPE, and the absolute positions that were tried in its place, trained on 16 frames.
Each draws 12 prompts, 16 frames and 32 in one go, 20 steps, guidance 4; prompt `i` has seed `i` in
every arm, so that arms are compared prompt by prompt. The prompts are those of the first test
scenes with one object whose own frames 16 to 31 the oracle reads right; in others the thing has
left by then, for scenes are made for 16 frames.

* `consistency`: subject consistency (VBench's, which the paper uses) of what the oracle sees of
  the thing in each frame, in place of DINO; `smoothness`: motion smoothness, with the mean of a
  frame's neighbours in place of a network that makes frames.
* Both are 1 for a clip that stands still. So beside them, and no part of the verdict: `later half
  right`, the share of prompts whose background, colour, shape and motion are all read right in
  frames 16 to 31. Row `true`: the true clips through the autoencoder.
* Verdict, of each absolute arm, at 32 frames (the paper's figures: consistency .96 against .90,
  smoothness .93 against .62): the claim *holds in samples* if RoPE's consistency and smoothness are
  both higher, both 95 % intervals above 0; it *fails* if either lies below 0; else it is *not
  shown*. Intervals by bootstrap over seeds and prompts together.

Cost at full scale: 9 runs of some 6 core-minutes, shared with `temporal_claims positions`, and 5
core-minutes each to draw.

Command: `python -m mutoscope.recipes.length_claim RUNS`, after `python -m mutoscope.recipes.ship
--unpack RUNS` or the chain itself. The same command goes on after it was stopped. Written are
`RUNS/length.json` and `.png`, and sheets of the clips in `RUNS/measured/length`.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from rich.console import Console

from mutoscope.errors import MutoscopeError
from mutoscope.metrics.accuracy import score
from mutoscope.metrics.consistency import motion_smoothness, subject_consistency
from mutoscope.metrics.interval import interval
from mutoscope.metrics.oracle import Oracle, needed_oracle
from mutoscope.recipes import temporal_claims
from mutoscope.recipes.claim_report import Figures, Report, by_run, kept, publish
from mutoscope.recipes.curriculum import last_finished
from mutoscope.recipes.parents import FPS, load_codec
from mutoscope.recipes.samples import pixels, prompts_for, scenes_to_test
from mutoscope.recipes.source_claims import drawing
from mutoscope.recipes.tasks import NUM_FRAMES
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import train
from mutoscope.types import Video
from mutoscope.world.labels import MAX_THINGS
from mutoscope.world.scene import Scene

ARMS = temporal_claims.CLAIMS["positions"]
FIRST_SCENE = 750_000  # no other figure uses the scenes from there on
LENGTHS = (NUM_FRAMES, 2 * NUM_FRAMES)
JUDGED = ("consistency", "smoothness")
LATER = "later half right"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the experiment is; the defaults are what the rule was written for.

    Attributes:
        training: Of the runs.
        prompts: Test prompts.
    """

    training: temporal_claims.Scale = field(default_factory=temporal_claims.Scale)
    prompts: int = 12


def run(runs: Path, scale: Scale) -> Report:
    """Trains what is not yet trained, draws what is not yet drawn, and judges."""
    console, start = Console(stderr=True), last_finished(runs)
    scenes, folder = asked(scale.prompts), runs / "measured" / "length"
    told = {"prompts": scale.prompts}
    tables = {
        name: by_run(
            [
                temporal_claims.arm(name, seed, scale.training, start)
                for seed in scale.training.seeds
            ],
            lambda recipe: of_run(recipe, train(recipe, runs, console=console), runs, scenes),
            folder=folder,
            told=told,
        )
        for name in ARMS
    }
    true = kept(folder / "true.json", told, lambda: of_truth(runs, scenes))
    return judge(tables | {"true": {name: np.array([row]) for name, row in true.items()}})


def asked(count: int) -> list[Scene]:
    """The first test scenes with one object that go on for twice the length as they begin."""
    oracle, found, first = needed_oracle(), list[Scene](), FIRST_SCENE
    while len(found) < count:
        for scene in scenes_to_test(8, "video", first=first):
            if scene.arrangement == "single":
                true = pixels([scene], num_frames=LENGTHS[1], fps=FPS)
                if later_right(true, [scene], oracle)[0]:
                    found.append(scene)
        first += 8
    return found[:count]


def later_right(video: Video, scenes: Sequence[Scene], oracle: Oracle) -> list[float]:
    """Of each clip 1 if everything is read right after the length trained on, else 0."""
    readings = oracle.read(video[:, :, LENGTHS[0] :], fps=FPS)
    right = [score(scene, found) for scene, found in zip(scenes, readings, strict=True)]
    return [float(row["all"]) for row in right]


def of_run(recipe: Recipe, model: Path, runs: Path, scenes: Sequence[Scene]) -> Figures:
    """What a finished run draws, judged at both lengths; sheets of it are written."""
    draws, modules = drawing(recipe, model, runs)
    figures: Figures = {}
    for frames in LENGTHS:
        sheet = runs / "measured" / "length" / f"{recipe.name}-{frames}.png"
        video = draws.draw(modules, prompts_for(scenes), frames, sheet)
        figures |= judged(video, scenes, needed_oracle())
    return figures


def of_truth(runs: Path, scenes: Sequence[Scene]) -> Figures:
    """The true clips through the autoencoder, judged likewise."""
    codec = load_codec(runs / "autoencoder" / "model", "cpu")
    figures: Figures = {}
    for frames in LENGTHS:
        with torch.inference_mode():
            clips = [
                codec.decode(codec.encode(pixels([scene], num_frames=frames, fps=FPS)))
                for scene in scenes
            ]
        figures |= judged(torch.cat(clips).clamp(-1, 1), scenes, needed_oracle())
    return figures


def judged(video: Video, scenes: Sequence[Scene], oracle: Oracle) -> Figures:
    """Figures of one length, by clip; of the greater also how the later half is read."""
    clips, _, frames = video.shape[:3]
    sight = oracle.encode(rearrange(video, "b c f h w -> (b f) c 1 h w")).flatten(1)
    things = sight[:, sight.shape[1] // (1 + MAX_THINGS) :].contiguous()
    figures = {
        f"consistency {frames}": subject_consistency(things.view(clips, frames, -1)).tolist(),
        f"smoothness {frames}": motion_smoothness(video).tolist(),
    }
    if frames == LENGTHS[1]:
        figures[LATER] = later_right(video, scenes, oracle)
    return figures


def judge(tables: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Report:
    """The rule of the module's first page, on figures by run and prompt."""
    verdicts = []
    for name in ARMS[1:]:
        above = {
            figure: interval(lambda a, b: a - b, tables["rope"][figure], tables[name][figure])
            for figure in (f"{each} {LENGTHS[1]}" for each in JUDGED)
        }
        claim = "is not shown"
        if min(each.low for each in above.values()) > 0:
            claim = "holds"
        elif min(each.high for each in above.values()) < 0:
            claim = "fails"
        gains = ", ".join(f"{figure} {gain}" for figure, gain in above.items())
        verdicts.append(f"rope less {name}: {gains}: the claim {claim} in samples.")
    return Report(
        name="length",
        title="RoPE and absolute positions in time, trained on 16 frames, drawing 32",
        unit="consistency and smoothness of 1; share of the later halves read right",
        rows={
            name: {figure: interval(lambda mean: mean, table) for figure, table in row.items()}
            for name, row in tables.items()
        },
        verdicts=verdicts,
    )


def main(runs: Path, scale: Scale | None = None) -> None:
    """Runs the claim and publishes it in `runs`."""
    publish(run(runs, scale or Scale()), runs, Console())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m mutoscope.recipes.length_claim RUNS")
    try:
        main(Path(sys.argv[1]))
    except MutoscopeError as problem:
        sys.exit(str(problem))
