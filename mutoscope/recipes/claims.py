"""The papers' claims, run again at the size of the miniature. Written down before the runs.

**Forgetting** (LaVie, arXiv 2309.15103, §5.4 and Fig. 11). Claim: an image model tuned on video
alone forgets what it knew from images; tuned on images and clips jointly it does not.

* The image model: the last run of the base model without its layers over time, as it draws stills.
  It has learned from stills all along, and concepts that occur only in these among them.
* Arms, from that model inflated anew, with equal steps, clips and step sizes: `video-only` (the
  whole network, clips only), `temporal-only` (the new layers, clips only), `joint` (the whole
  network, each clip with four stills). Three seeds of data order and noise each.
* Metric: the oracle's accuracy on concepts that occur in training stills and never in training
  clips, two shapes and three styles. 100 prompts as stills and the first 16 of them as clips per
  run, the first of their kind, none picked; 95 % intervals over prompts. Beside it what tuning is
  for: the error of the prediction on 16 test clips at times 500, 700 and 900.
* Before: the image model on stills, and the inflated network on clips at step 0.
* Verdict, on the mean of image-only shapes and styles in stills, seeds pooled: "forgets" when the
  upper end of an arm's interval lies below the lower end of the image model's; the claim holds if
  `video-only` forgets and `joint` does not. That `joint` pays no price on clips is claimed if its
  mean error, over seeds, is within 1 % of that of `video-only`.

Command: `python -m mutoscope.recipes.claims RUNS`, after `python -m mutoscope.recipes.ship --unpack
RUNS` or the chain that made what is shipped. A run that was stopped goes on when the command is
given again.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from torch import nn

from mutoscope.errors import MutoscopeError
from mutoscope.metrics.accuracy import accuracy
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes import mini
from mutoscope.recipes.curriculum import NewTimeTask, last_finished
from mutoscope.recipes.parents import FPS, load_unet, world_samples
from mutoscope.recipes.samples import WorldSamples, scenes_of_one_concept
from mutoscope.recipes.tasks import NUM_FRAMES
from mutoscope.recipes.worth import Worth, forwards, single_scenes
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.training.optim import Muon, Schedule
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import train
from mutoscope.video.atomic import whole
from mutoscope.world.scene import Scene

Arm = Literal["video-only", "temporal-only", "joint"]
ARMS: tuple[Arm, ...] = ("video-only", "temporal-only", "joint")
SEEDS = (0, 1, 2)
STILLS = 100
STEPS = 200
CLIPS = 16
TIMES = (500.0, 700.0, 900.0)


def forgetting(arm: Arm, seed: int, start: Recipe) -> Recipe:
    """One run of the forgetting experiment.

    Args:
        arm: What is trained on what.
        seed: Of data order and noise.
        start: The run of the base model whose knowledge of stills it starts from.
    """
    return Recipe(
        name=f"forgetting-{arm}-{seed}",
        task=NewTimeTask(
            clips=16_000,
            batch_size=4,
            time_shift=2.0,
            images_per_clip=4 if arm == "joint" else 0,
            trained="temporal" if arm == "temporal-only" else "all",
            seed=100 + seed,
            samples=1,
        ),
        parents=(mini.autoencoder(), mini.words(), start),
        steps=STEPS,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=20, decay=0.3, shape="cosine"),
        ema=0.98,
        precision="bf16",
        seed=seed,
        evaluate_every=STEPS,
        save_every=50,
    )


def as_stills(scenes: Sequence[Scene]) -> list[Scene]:
    """The same scenes as images, whose captions say nothing of motion."""
    return [
        replace(
            scene,
            kind="image",
            camera="still",
            things=tuple(replace(thing, motion="still", speed="normal") for thing in scene.things),
        )
        for scene in scenes
    ]


def measure(samples: WorldSamples, network: nn.Module, out: Path) -> dict[str, list[float]]:
    """Whether each prompt's concept is read in stills and clips, and the error on each test clip.

    What was measured before is read from `out/found.json`.
    """
    file = out / "found.json"
    if file.exists():
        known: dict[str, list[float]] = json.loads(file.read_text("utf-8"))
        return known
    concepts = scenes_of_one_concept(STILLS, "video")
    stills = samples.scores({"network": network}, as_stills(concepts), 1, out / "stills.png")
    clips = samples.scores({"network": network}, concepts[:CLIPS], NUM_FRAMES, out / "clips.png")
    draws = samples.draws
    stage = KeyFrames(network, draws.process, draws.text)
    worth, shown = Worth(draws.codec, NUM_FRAMES, FPS, CLIPS), single_scenes(CLIPS, "video")
    errors = [worth.errors(stage, shown, (forwards,), time=time) for time in TIMES]
    found = {
        # Shapes and styles take turns.
        "stills": [float(row[("shape", "style")[i % 2]]) for i, row in enumerate(stills)],
        "clips": [float(row[("shape", "style")[i % 2]]) for i, row in enumerate(clips)],
        "error": torch.stack(errors).mean((0, 2, 3, 4, 5)).tolist(),
    }
    with whole(file) as draft:
        draft.write_text(json.dumps(found), "utf-8")
    return found


def run_forgetting(runs: Path) -> Mapping[str, Mapping[str, object]]:
    """Trains what is not yet trained, measures every arm, and writes `RUNS/forgetting.json`."""
    start = last_finished(runs)
    first = forgetting("joint", 0, start)
    task = first.task
    assert isinstance(task, NewTimeTask)
    parents = {each.name: train(each, runs) for each in first.parents}
    samples = world_samples(parents, task.process, device="cpu", num_frames=16, count=1)
    trained = load_unet(parents[start.name])
    inflated = task.network(
        channels=trained.config.in_channels,
        text_width=trained.config.cross_attention_dim,
        temporal=True,
    )
    task.begin(trained, inflated)
    found = {"before": [measure(samples, inflated.eval(), runs / "forgetting" / "before")]}
    for arm, seed in product(ARMS, SEEDS):
        recipe = forgetting(arm, seed, start)
        network = VideoUNet.from_pretrained(train(recipe, runs) / "base")
        out = runs / "forgetting" / recipe.name
        found.setdefault(arm, []).append(measure(samples, network.eval(), out))
    report = {arm: _summary(parts) for arm, parts in found.items()}
    with whole(runs / "forgetting.json") as draft:
        draft.write_text(json.dumps(report, indent=1, default=asdict), "utf-8")
    return report


def verdict(report: Mapping[str, Mapping[str, Any]]) -> str:
    """What the rule above says of a report."""
    before = report["before"]["stills"].low
    forgets = {arm: report[arm]["stills"].high < before for arm in ARMS}
    price = report["joint"]["error"] / report["video-only"]["error"] - 1
    held = forgets["video-only"] and not forgets["joint"]
    return (
        f"forgets: {', '.join(arm for arm in ARMS if forgets[arm]) or 'none'}; the claim "
        f"{'holds' if held else 'does not hold'}; on clips the error of joint is "
        f"{100 * price:+.1f} % from that of video-only, which is "
        f"{'no' if price <= 0.01 else 'a'} price."
    )


def _summary(parts: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, object]:
    """Shares over all seeds, with intervals over prompts, and the mean error."""
    report: dict[str, object] = {"error": fmean(each for part in parts for each in part["error"])}
    for name in ("stills", "clips"):
        rows = [{name: bool(right)} for part in parts for right in part[name]]
        groups = [number for part in parts for number in range(len(part[name]))]
        report |= accuracy(rows, groups)
    return report


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m mutoscope.recipes.claims RUNS")
    try:
        found = run_forgetting(Path(sys.argv[1]))
    except MutoscopeError as problem:
        sys.exit(str(problem))
    for arm, row in found.items():
        print(arm, {name: str(value) for name, value in row.items()})
    print(verdict(found))
