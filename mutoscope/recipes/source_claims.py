"""What LaVie says of its training clips, run again at the size of the miniature.

Written down before any run. Three seeds of data order and noise each; intervals, 95 %, by bootstrap
over seeds and prompts together; arms are compared prompt by prompt.

**Watermark**: LaVie meets WebVid's small clips and their watermark first and clean clips later.
Does the mark go? All arms start from one network that knows clean stills only, with new time
layers, and train the whole of it on clips of the world in batches of 2, for 800 steps in all (the
arm `marked` stops half-way).

* Arms: `marked`, 400 steps on clips of 40x64 scaled up to 80x128 with a half transparent mark;
  `cleaned`, that and 400 steps on clean clips of 80x128; `clean`, 800 steps on clean clips.
* Metric: correlation with the mark (`mutoscope.metrics.watermark`) of clips drawn from 16 test
  captions, 20 steps, guidance 4, the same seeds for all arms; on six true clips with the mark,
  after the autoencoder, it is 0.37 to 0.57. `left` is how much of what `marked` shows above `clean`
  remains in `cleaned`, in percent. The curve is the mark's correlation in 2 of these clips every
  100 steps of the first seed.
* Verdict: the mark *was learned* if the interval of `marked` less `clean` lies above 0.1, else the
  experiment says nothing. Then it *goes* if the upper end of `left` is below 10 %, *stays* if the
  lower end is above 50 %, and else goes *in part*.

**Quality**: LaVie ends on some 2,000 chosen clips (LaVie-QT). Does that help? From the last
base model in RUNS, 300 small steps in batches of 2 clips and 4 stills each:

* Arms: `tuned`, on the best 500 of 2,000 clips (`mutoscope.recipes.quality`); `longer`, on the
  first 500 of them, as they come; and `before`, the base model itself.
* Metrics: the share of 48 test prompts whose shape, whose motion, and whose background, colour,
  shape and motion the oracle all reads right in a clip drawn with 20 steps and guidance 4; and the
  sharpness of these clips. The same seeds for all arms.
* Verdict, on `all`: tuning *helps* if the interval of `tuned` less `longer` lies above 0, *harms*
  if it lies below, and else *nothing is shown*. The same is said of `tuned` less `before`.

Cost at full scale: some 0.7 core-seconds a step and 4.5 core-seconds a drawn clip: watermark 75
core-minutes (9 runs), quality 60 (6 runs).

Command: `python -m mutoscope.recipes.source_claims watermark RUNS` or `quality RUNS`, after
`python -m mutoscope.recipes.ship --unpack RUNS` or the chain itself. The same command goes on after
it was stopped. Written are `RUNS/watermark.json` and `.png`.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from mutoscope.errors import MutoscopeError
from mutoscope.metrics.accuracy import score
from mutoscope.metrics.interval import Interval, interval
from mutoscope.metrics.oracle import needed_oracle
from mutoscope.metrics.sharpness import sharpness
from mutoscope.metrics.watermark import mark_correlation
from mutoscope.recipes import curriculum, mini
from mutoscope.recipes.claim_report import Figures, Report, by_run, kept, publish
from mutoscope.recipes.curriculum import MarkSamples, MarkTask, QualityTask, last_finished
from mutoscope.recipes.parents import FPS, load_codec, load_text, load_unet, text_of
from mutoscope.recipes.samples import CaptionSamples, Modules, prompts_for, scenes_to_test
from mutoscope.recipes.tasks import NUM_FRAMES, DenoiserTask
from mutoscope.training.optim import Schedule
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import train

Tables = Mapping[str, Mapping[str, NDArray[np.float64]]]
FIRST_SCENE = 800_000  # no other figure uses the scenes from there on


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the experiments are; the defaults are what the rules were written for.

    Attributes:
        stage_steps: Of each of the two stages of the watermark experiment.
        tuning_steps: Of quality tuning, and of what it is compared with.
        clips: Training clips of the world.
        chosen: How many of them quality tuning keeps.
        seeds: Of the runs of each arm.
        drawn: Test captions of the watermark experiment.
        prompts: Test prompts of quality tuning.
    """

    stage_steps: int = 400
    tuning_steps: int = 300
    clips: int = 2_000
    chosen: int = 500
    seeds: tuple[int, ...] = (0, 1, 2)
    drawn: int = 16
    prompts: int = 48


def marked_arms(seed: int, scale: Scale, start: Recipe) -> Mapping[str, Recipe]:
    """The runs of one seed of the watermark experiment, by arm, from the stills of `start`."""
    whole = curriculum.watermarked(start)
    assert isinstance(whole.task, MarkTask)
    task = replace(
        whole.task,
        clips=scale.clips,
        images_per_clip=0,
        batch_size=2,
        seed=300 + seed,
        samples=min(2, scale.drawn),
    )
    first = replace(
        whole,
        name=f"marked-{seed}",
        task=task,
        steps=scale.stage_steps,
        schedule=Schedule(warmup=20),
        ema=0.99,
        parts=1,
        seed=300 + seed,
        evaluate_every=100,
        save_every=50,
    )
    second = replace(
        first,
        name=f"cleaned-{seed}",
        task=replace(task, marked=False, anew=False, seed=310 + seed),
        parents=(mini.autoencoder(), mini.words(), first),
        schedule=Schedule(warmup=20, decay=0.4, shape="cosine"),
        seed=310 + seed,
    )
    clean = replace(
        first,
        name=f"clean-{seed}",
        task=replace(task, marked=False),
        steps=2 * scale.stage_steps,
        schedule=Schedule(warmup=20, decay=0.2, shape="cosine"),
    )
    return {"marked": first, "cleaned": second, "clean": clean}


def tuned_arms(seed: int, scale: Scale, start: Recipe) -> Mapping[str, Recipe]:
    """The runs of one seed of quality tuning, by arm, from the base model `start`."""
    whole = curriculum.quality_tuned(start)
    assert isinstance(whole.task, QualityTask)
    task = replace(
        whole.task, clips=scale.clips, chosen=scale.chosen, batch_size=2, seed=320 + seed, samples=0
    )
    changed = replace(
        whole,
        steps=scale.tuning_steps,
        ema=0.99,
        parts=1,
        seed=320 + seed,
        evaluate_every=scale.tuning_steps,
        save_every=50,
    )
    return {
        "tuned": replace(changed, name=f"tuned-{seed}", task=task),
        "longer": replace(changed, name=f"longer-{seed}", task=replace(task, choice="first")),
    }


def run_watermark(runs: Path, scale: Scale) -> Report:
    """Trains what is not yet trained, measures what is not yet measured, and judges."""
    start = last_finished(runs)
    arms = [marked_arms(seed, scale, start) for seed in scale.seeds]

    def measure(recipe: Recipe, model: Path) -> Figures:
        draws, modules = drawing(recipe, model, runs)
        sheet = sheet_of(recipe.name, runs)
        videos = MarkSamples(draws, scale.drawn).videos(modules, sheet)
        return {"mark": mark_correlation(videos).tolist()}

    tables = _tables(arms, measure, runs, {"drawn": scale.drawn})
    curves = {
        "first marked": [
            *_curve(runs, arms[0]["marked"], 0),
            *_curve(runs, arms[0]["cleaned"], scale.stage_steps),
        ],
        "always clean": _curve(runs, arms[0]["clean"], 0),
    }
    return replace(judge_watermark(tables), curves=curves)


def run_quality(runs: Path, scale: Scale) -> Report:
    """Trains what is not yet trained, measures what is not yet measured, and judges."""
    start = last_finished(runs)
    arms = [tuned_arms(seed, scale, start) for seed in scale.seeds]

    def measure(recipe: Recipe, model: Path) -> Figures:
        draws, modules = drawing(recipe, model, runs)
        return readings(draws, modules, scale.prompts, sheet_of(recipe.name, runs))

    told = {"prompts": scale.prompts}
    tables = dict(_tables(arms, measure, runs, told))
    model = train(start, runs, console=Console(stderr=True))
    figures = kept(
        runs / "measured" / "before-tuning.json",
        {"recipe": start.hash(), **told},
        lambda: measure(start, model),
    )
    # There is one base model; beside each seed's runs it stands as it is.
    tables["before"] = {
        name: np.array([row] * len(scale.seeds), np.float64) for name, row in figures.items()
    }
    return judge_quality(tables)


def readings(draws: CaptionSamples, modules: Modules, count: int, sheet: Path) -> Figures:
    """What the oracle reads right in clips of the first test prompts, and how sharp these are."""
    scenes = scenes_to_test(count, "video", first=FIRST_SCENE)
    videos = draws.draw(modules, prompts_for(scenes), draws.num_frames, sheet)
    found = needed_oracle().read(videos, fps=FPS)
    scores = [score(scene, reading) for scene, reading in zip(scenes, found, strict=True)]
    figures = {name: [float(row[name]) for row in scores] for name in ("shape", "motion", "all")}
    return figures | {"sharpness": sharpness(videos).tolist()}


def drawing(recipe: Recipe, model: Path, runs: Path) -> tuple[CaptionSamples, Modules]:
    """What draws captions, and the network of a finished run to draw them with."""
    parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
    assert isinstance(recipe.task, DenoiserTask)
    text, codec = load_text(text_of(parents), "cpu"), load_codec(parents["autoencoder"], "cpu")
    draws = CaptionSamples(recipe.task.process, text, codec, NUM_FRAMES)
    return draws, {"network": load_unet(model).eval()}


def sheet_of(name: str, runs: Path) -> Path:
    """Where the clips that a run was measured on are shown."""
    folder = runs / "measured"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.png"


def judge_watermark(tables: Tables) -> Report:
    """The first rule above, on correlations by run and caption."""
    marked, cleaned, clean = (tables[arm]["mark"] for arm in ("marked", "cleaned", "clean"))
    learned = interval(lambda a, b: a - b, marked, clean)
    # In a draw in which nothing was learned there is nothing to be left of.
    left = interval(lambda a, b, c: 100 * (b - c) / np.maximum(a - c, 1e-3), marked, cleaned, clean)
    verdict = f"the mark was not learned ({learned} above clean): nothing is said"
    if learned.low > 0.1:
        what = "goes in part"
        if left.high < 10:
            what = "goes"
        elif left.low > 50:
            what = "stays"
        verdict = f"the mark was learned ({learned} above clean) and {what}: left {left} %"
    return Report(
        name="watermark",
        title="Clips with a watermark first, clean ones later",
        unit="correlation with the mark in drawn clips",
        rows=_rows(tables),
        verdicts=[verdict],
    )


def judge_quality(tables: Tables) -> Report:
    """The second rule above, on figures by run and prompt."""
    verdicts = []
    for other in ("longer", "before"):
        change = interval(lambda a, b: 100 * (a - b), tables["tuned"]["all"], tables[other]["all"])
        what = "nothing is shown"
        if change.low > 0:
            what = "tuning helps"
        elif change.high < 0:
            what = "tuning harms"
        verdicts.append(f"tuned less {other}: {change} points of `all`: {what}")
    return Report(
        name="quality",
        title="Quality tuning of the base model",
        unit="share read right; sharpness: logarithm",
        rows=_rows(tables),
        verdicts=verdicts,
    )


def _tables(
    arms: Sequence[Mapping[str, Recipe]],
    measure: Callable[[Recipe, Path], Figures],
    runs: Path,
    told: Mapping[str, object],
) -> Tables:
    console = Console(stderr=True)
    return {
        name: by_run(
            [seed[name] for seed in arms],
            lambda recipe: measure(recipe, train(recipe, runs, console=console)),
            folder=runs / "measured",
            told=told,
        )
        for name in arms[0]
    }


def _rows(tables: Tables) -> dict[str, dict[str, Interval]]:
    return {
        arm: {name: interval(lambda mean: mean, table) for name, table in figures.items()}
        for arm, figures in tables.items()
    }


def _curve(runs: Path, recipe: Recipe, before: int) -> list[tuple[float, float]]:
    """The mark's correlation after each evaluation of a run, by steps from the first stage on."""
    lines = (runs / recipe.name / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [
        (float(before + record["step"]), record["evaluation"]["mark_correlation"])
        for record in records
        if "evaluation" in record
    ]


CLAIMS: Mapping[str, Callable[[Path, Scale], Report]] = {
    "watermark": run_watermark,
    "quality": run_quality,
}


def main(claim: str, runs: Path, scale: Scale | None = None) -> None:
    """Runs one claim of `CLAIMS` and publishes it in `runs`."""
    publish(CLAIMS[claim](runs, scale or Scale()), runs, Console())


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in CLAIMS:
        sys.exit(f"usage: python -m mutoscope.recipes.source_claims {'|'.join(CLAIMS)} RUNS")
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except MutoscopeError as problem:
        sys.exit(str(problem))
