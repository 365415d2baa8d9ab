"""The papers' claims, run again at the size of the miniature. Written down before the runs.

**Forgetting** (LaVie, arXiv 2309.15103, §5.4 and Fig. 11). Claim: an image model tuned on video
alone forgets what it knew from images; tuned on images and clips jointly it does not.

* Arms, from one image model, with equal steps, clips and step sizes: `video-only` (the whole
  network, clips only), `temporal-only` (the new layers, clips only), `joint` (the whole network,
  each clip with four stills). Three seeds of data order and noise each.
* Metric: the oracle's accuracy on concepts that occur in training stills and never in training
  clips, two shapes and three styles. 60 prompts as stills and 60 as clips per run, the first of
  their kind, none picked; 95 % intervals over prompts. Beside it, on 60 ordinary test prompts, the
  accuracy of motion, which is what tuning is for.
* Before: the image model on stills, and the inflated network on clips at step 0.
* Verdict, on the mean of image-only shapes and styles in stills, seeds pooled: "forgets" when the
  upper end of an arm's interval lies below the lower end of the image model's; the claim holds if
  `video-only` forgets and `joint` does not. That `joint` pays no price in motion is claimed if its
  interval overlaps that of `video-only`.

Command: `python -m mutoscope.recipes.claims RUNS`, after `mutoscope train mini:pieces --out RUNS`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from torch import nn

from mutoscope.metrics.accuracy import Estimate, accuracy
from mutoscope.nn.temporal import inflate
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes import mini
from mutoscope.recipes.parents import load_unet, start_of, world_samples
from mutoscope.recipes.samples import WorldSamples, scenes_of_one_concept, scenes_to_test
from mutoscope.recipes.tasks import DenoiserTask
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import train
from mutoscope.world.scene import Scene

Arm = Literal["video-only", "temporal-only", "joint"]
ARMS: tuple[Arm, ...] = ("video-only", "temporal-only", "joint")
SEEDS = (0, 1, 2)
PROMPTS = 60
STEPS = 500


def forgetting(arm: Arm, seed: int) -> Recipe:
    """One run of the forgetting experiment."""
    tuned = mini.joint()
    assert isinstance(tuned.task, DenoiserTask)
    task = replace(
        tuned.task,
        images_per_clip=4 if arm == "joint" else 0,
        trained="temporal" if arm == "temporal-only" else "all",
        seed=100 + seed,
    )
    return replace(
        tuned,
        name=f"forgetting-{arm}-{seed}",
        task=task,
        steps=STEPS,
        seed=seed,
        evaluate_every=STEPS,
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


def measure(samples: WorldSamples, network: nn.Module, out: Path) -> dict[str, list[bool]]:
    """Whether each prompt's concept was read, in stills and clips, and test prompts' motion."""
    concepts = scenes_of_one_concept(PROMPTS, "video")
    stills = samples.scores({"network": network}, as_stills(concepts), 1, out / "stills.png")
    clips = samples.scores({"network": network}, concepts, 16, out / "clips.png")
    test = scenes_to_test(PROMPTS, "video")
    motion = samples.scores({"network": network}, test, 16, out / "test.png")
    wanted = ["shape" if number % 2 == 0 else "style" for number in range(PROMPTS)]
    return {
        "stills": [row[name] for row, name in zip(stills, wanted, strict=True)],
        "clips": [row[name] for row, name in zip(clips, wanted, strict=True)],
        "motion": [row["motion"] for row in motion],
    }


def run_forgetting(runs: Path) -> Mapping[str, Mapping[str, Estimate]]:
    """Trains what is not yet trained, measures every arm, and writes `RUNS/forgetting.json`."""
    parents = {parent.name: runs / parent.name / "model" for parent in mini.joint().parents}
    task = mini.joint().task
    assert isinstance(task, DenoiserTask)
    samples = world_samples(parents, task.process, device="cpu", num_frames=16, count=PROMPTS)
    start = start_of(parents)
    assert start is not None
    image = load_unet(start)
    inflated = task.network(
        channels=image.config.in_channels,
        text_width=image.config.cross_attention_dim,
        temporal=True,
    )
    inflate(image.state_dict(), inflated)
    found = {"before": [measure(samples, inflated.eval(), runs / "forgetting" / "before")]}
    for arm in ARMS:
        found[arm] = []
        for seed in SEEDS:
            recipe = forgetting(arm, seed)
            network = VideoUNet.from_pretrained(train(recipe, runs) / "base")
            found[arm].append(measure(samples, network.eval(), runs / "forgetting" / recipe.name))
    report = {arm: _estimates(parts) for arm, parts in found.items()}
    table = {
        arm: {name: asdict(value) for name, value in row.items()} for arm, row in report.items()
    }
    (runs / "forgetting.json").write_text(json.dumps(table, indent=1))
    return report


def _estimates(parts: Sequence[Mapping[str, Sequence[bool]]]) -> dict[str, Estimate]:
    """Shares over all seeds, with intervals over prompts."""
    report: dict[str, Estimate] = {}
    for name in parts[0]:
        rows = [{name: right} for part in parts for right in part[name]]
        groups = [number for part in parts for number in range(len(part[name]))]
        report |= accuracy(rows, groups)
    return report


if __name__ == "__main__":
    for arm, row in run_forgetting(Path(sys.argv[1])).items():
        print(arm, {name: str(value) for name, value in row.items()})
