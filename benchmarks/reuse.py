"""What reuse of deep features costs and saves: the curve that `generate --max-quality-loss` reads.

Command: `python -m benchmarks.reuse [--model NAME_OR_FOLDER] [--prompts 32] [--work FILE]`. Each
test caption is drawn exactly and with each way of reuse, from one seed, in one process; frames are
compared with the exact ones. A finished prompt is kept in FILE, so that a run that was stopped goes
on where it was; the file is named by the weights, so that other weights begin anew. At the end the
curve is written to the model's folder, and a table to benchmarks/results.
"""

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mutoscope.diffusion.reuse import Reuse
from mutoscope.encoding.codec import LatentCodec
from mutoscope.metrics.accuracy import score
from mutoscope.metrics.interval import interval
from mutoscope.metrics.oracle import needed_oracle
from mutoscope.recipes.worth import single_scenes
from mutoscope.systems import System, load
from mutoscope.systems.load import folder_of
from mutoscope.systems.lora import base_hash
from mutoscope.systems.reuse_curve import CURVE, Curve, Point, curve_text
from mutoscope.types import Latents, Video
from mutoscope.video.atomic import whole
from mutoscope.world.grammar import caption
from mutoscope.world.scene import Scene

FIRST_SCENE = 500_000  # no other figure uses the scenes from there on
INTERVALS = (2, 3, 5)


def ways(system: System) -> list[Reuse]:
    """Of the finest level the last layer alone is computed anew, or all of it."""
    whole = system.base.config.layers_per_block + 1
    return [
        Reuse(interval=each, layers=layers)
        for each in INTERVALS
        for layers in dict.fromkeys((whole, 1))
    ]


def drawn(system: System, text: str, seed: int, reuse: Reuse | None) -> tuple[Latents, float]:
    """Latents of the key frames, and the CPU seconds that they took."""
    start = time.process_time()
    made = system(text, seeds=seed, stages=("base",), output_type="latent", reuse=reuse)
    return made.frames, time.process_time() - start


def measured(system: System, scene: Scene) -> dict[str, Any]:
    """One prompt: what each way of reuse makes of it, beside the exact frames."""
    codec, text = LatentCodec(system.vae), caption(scene, level="full", seed=scene.seed)

    def right(video: Video) -> bool | None:
        if not system.config.vocabulary:  # the oracle reads videos of our world alone
            return None
        (reading,) = needed_oracle().read(video, fps=float(system.config.fps))
        return score(scene, reading)["all"]

    @torch.inference_mode()
    def shown(latents: Latents) -> Video:
        return codec.decode(latents).clamp(-1, 1)

    exact, seconds = drawn(system, text, scene.seed, None)
    frames = shown(exact)
    points = []
    for way in ways(system):
        latents, spent = drawn(system, text, scene.seed, way)
        video = shown(latents)
        points.append(
            {
                "interval": way.interval,
                "layers": way.layers,
                "seconds": spent,
                "loss": float((video - frames).square().mean().sqrt()) / 2,
                "latents": float((latents - exact).norm() / exact.norm()),
                "right": right(video),
            }
        )
    return {"text": text, "seconds": seconds, "right": right(frames), "points": points}


def curve_of(rows: list[dict[str, Any]], system: System) -> Curve:
    """The curve of all prompts that were measured."""
    points = []
    for number, way in enumerate(ways(system)):
        found = [row["points"][number] for row in rows]
        losses = interval(lambda mean: mean, np.array([[each["loss"] for each in found]]))
        spent = sum(each["seconds"] for each in found) / sum(row["seconds"] for row in rows)
        points.append(
            Point(
                interval=way.interval,
                layers=way.layers,
                loss=losses.value,
                loss_low=losses.low,
                loss_high=losses.high,
                time=spent,
            )
        )
    return Curve(
        weights=base_hash(system),
        steps=system.config.steps,
        guidance=system.config.guidance_scale,
        early_guidance=system.config.early_guidance,
        early_until=system.config.early_until,
        draft_until=system.config.draft_until,
        prompts=len(rows),
        date=datetime.now(UTC).date().isoformat(),
        points=tuple(sorted(points, key=lambda point: point.loss)),
    )


def report(curve: Curve, rows: list[dict[str, Any]]) -> str:
    """The table for benchmarks/results."""

    def share(answers: list[bool | None]) -> str:
        return "" if None in answers else f"{100 * sum(map(bool, answers)) / len(answers):.0f} %"

    lines = [
        f"# Reuse of deep features, weights {curve.weights}, {curve.date}",
        "",
        f"`python -m benchmarks.reuse --prompts {curve.prompts}`: that many test captions of one "
        f"thing, one seed each (scenes from {FIRST_SCENE}), {curve.steps} steps, guidance "
        f"{curve.guidance:g}, draft_until {curve.draft_until}, fp32, {torch.get_num_threads()} CPU "
        "thread(s) of "
        f"{platform.machine()}, torch {torch.__version__}. Loss: root-mean-square difference of "
        "frames from exact ones, share of the range of pixel values, with its 95 % interval over "
        "prompts. Time: CPU time of sampling, share of that of exact sampling, in one process. "
        "Right: the oracle reads all four factors as told; of exact frames "
        f"{share([row['right'] for row in rows])}.",
        "",
        "| every so many steps whole | layers anew | loss | latents | time | right |",
        "|---|---|---|---|---|---|",
    ]
    for point in curve.points:
        key = point.interval, point.layers
        found = [p for row in rows for p in row["points"] if (p["interval"], p["layers"]) == key]
        latents = sum(each["latents"] for each in found) / len(found)
        lines.append(
            f"| {point.interval} | {point.layers} | {100 * point.loss:.2f} % "
            f"[{100 * point.loss_low:.2f}, {100 * point.loss_high:.2f}] | {100 * latents:.1f} % | "
            f"{point.time:.2f} | {share([each['right'] for each in found])} |"
        )
    return "\n".join([*lines, ""])


def main(model: str, prompts: int, work: Path | None) -> None:
    """Measures what is not measured yet, then writes curve and table."""
    system = load(model)
    weights = base_hash(system)
    work = work or Path("outputs", f"reuse-{weights}.jsonl")
    work.parent.mkdir(parents=True, exist_ok=True)
    lines = work.read_text().splitlines() if work.is_file() else []
    rows = [json.loads(line) for line in lines]
    scenes = single_scenes(prompts, "video", first=FIRST_SCENE)
    for scene in scenes[len(rows) :]:
        rows.append(measured(system, scene))
        with whole(work) as draft:
            draft.write_text("".join(json.dumps(row) + "\n" for row in rows))
        print(f"{len(rows)} of {prompts}", flush=True)
    rows = rows[:prompts]
    curve = curve_of(rows, system)
    (folder_of(model) / CURVE).write_text(curve_text(curve), encoding="utf-8")
    text = report(curve, rows)
    print(text)
    name = f"reuse_{platform.machine()}_{curve.date}_{weights}.md"
    Path(__file__).with_name("results").joinpath(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lavie-mini")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--work", type=Path)
    main(**vars(parser.parse_args()))
