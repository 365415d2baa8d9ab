"""How near each solver comes in few steps to what it would draw in many, and what that costs.

Command: `python -m benchmarks.solvers [--prompts 8] [--work FILE]`. Each test caption is drawn from
one seed with every solver and number of steps, and compared with DPM-Solver++ in 100 steps: all
solve the same equation, so that they meet there. A finished prompt is kept in FILE, so that a run
that was stopped goes on where it was. At the end a table is written to benchmarks/results.
"""

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from mutoscope.diffusion.process import Solver, VariancePreserving, process_from
from mutoscope.encoding.codec import LatentCodec
from mutoscope.metrics.accuracy import score
from mutoscope.metrics.interval import interval
from mutoscope.metrics.oracle import needed_oracle
from mutoscope.recipes.worth import single_scenes
from mutoscope.systems import System, load
from mutoscope.systems.lora import base_hash
from mutoscope.types import Latents
from mutoscope.video.atomic import whole
from mutoscope.world.grammar import caption
from mutoscope.world.scene import Scene

FIRST_SCENE = 600_000  # no other figure uses the scenes from there on
REFERENCE: tuple[Solver, int] = ("dpm++", 100)
STEPS = (8, 12, 16, 25)


def drawn(
    system: System, text: str, seed: int, solver: Solver, steps: int
) -> tuple[Latents, float]:
    """Latents, and the CPU seconds that they took."""
    law = process_from(system.scheduler)
    assert isinstance(law, VariancePreserving)
    system.scheduler = law.scheduler(solver)
    start = time.process_time()
    made = system(text, seeds=seed, steps=steps, stages=("base",), output_type="latent")
    return made.frames, time.process_time() - start


def measured(system: System, scene: Scene) -> dict[str, Any]:
    """One prompt: what each solver makes of it in so many steps."""
    oracle, codec = needed_oracle(), LatentCodec(system.vae)
    text = caption(scene, level="full", seed=scene.seed)
    fps = float(system.config.fps)

    def right(latents: Latents) -> bool:
        with torch.inference_mode():
            (reading,) = oracle.read(codec.decode(latents).clamp(-1, 1), fps=fps)
        return score(scene, reading)["all"]

    exact, _ = drawn(system, text, scene.seed, *REFERENCE)
    rows = []
    for solver in get_args(Solver):
        for steps in STEPS:
            latents, seconds = drawn(system, text, scene.seed, solver, steps)
            error = float((latents - exact).norm() / exact.norm())
            told = {"solver": solver, "steps": steps, "seconds": seconds}
            rows.append(told | {"error": error, "right": right(latents)})
    return {"text": text, "right": right(exact), "rows": rows}


def report(found: list[dict[str, Any]], weights: str) -> str:
    """The table for benchmarks/results."""
    date, count = datetime.now(UTC).date().isoformat(), len(found)
    lines = [
        f"# Solvers, weights {weights}, {date}",
        "",
        f"`python -m benchmarks.solvers --prompts {count}`: that many test captions of one thing, "
        f"one seed each (scenes from {FIRST_SCENE}), fp32, {torch.get_num_threads()} CPU thread(s) "
        f"of {platform.machine()}, torch {torch.__version__}. Error: of latents against "
        f"{REFERENCE[0]} in {REFERENCE[1]} steps, relative, with its 95 % interval over prompts. "
        "Right: the oracle reads all four factors as told; of the reference in "
        f"{sum(each['right'] for each in found)} of {count}. Seconds: CPU time, mean.",
        "",
        "| solver | steps | error | right | seconds |",
        "|---|---|---|---|---|",
    ]
    for number, row in enumerate(found[0]["rows"]):
        same = [each["rows"][number] for each in found]
        error = interval(lambda mean: mean, np.array([[each["error"] for each in same]]))
        lines.append(
            f"| {row['solver']} | {row['steps']} | {error} | "
            f"{sum(each['right'] for each in same)} of {count} | "
            f"{sum(each['seconds'] for each in same) / count:.2f} |"
        )
    return "\n".join([*lines, ""])


def main(prompts: int, work: Path | None) -> None:
    """Measures what is not measured yet, then writes the table."""
    system = load()
    weights = base_hash(system)
    work = work or Path("outputs", f"solvers-{weights}.jsonl")
    work.parent.mkdir(parents=True, exist_ok=True)
    found = [json.loads(line) for line in work.read_text().splitlines()] if work.is_file() else []
    for scene in single_scenes(prompts, "video", first=FIRST_SCENE)[len(found) :]:
        found.append(measured(system, scene))
        with whole(work) as draft:
            draft.write_text("".join(json.dumps(row) + "\n" for row in found))
        print(f"{len(found)} of {prompts}", flush=True)
    text = report(found[:prompts], weights)
    print(text)
    date = datetime.now(UTC).date().isoformat()
    name = f"solvers_{platform.machine()}_{date}_{weights}.md"
    Path(__file__).with_name("results").joinpath(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--work", type=Path)
    main(**vars(parser.parse_args()))
