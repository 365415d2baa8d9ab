"""Trains the first steps of each recipe of a chain again, and compares the losses with the record.

Command: `python -m mutoscope.recipes.again RUNS [STEPS]`, where RUNS holds the finished chain, or
what is there of it: `python -m mutoscope.recipes.ship --unpack RUNS` lays out what is shipped. Of a
run that is not there the shipped record will do, if what it started from is there. Recipes whose
record is in bf16 compute in bf16 here too, which takes long where the machine has no units for it.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mutoscope.recipes import mini
from mutoscope.recipes.ship import SHIPPED
from mutoscope.training.precision import precision_as_recorded
from mutoscope.training.provenance import Provenance, read_provenance, read_record
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import NUM_FIRST_LOSSES, reproduce


@dataclass(frozen=True)
class Again:
    """How a recipe began again.

    Attributes:
        difference: The largest relative difference between its losses and the recorded ones.
            Threads add in their own order, so only the same machine with as many threads gives 0.
        seconds: What a step takes here, the first left out.
        steps: Of the recorded run.
    """

    difference: float
    seconds: float
    steps: int

    @property
    def minutes(self) -> float:
        """What all steps of the run would take here."""
        return self.seconds * self.steps / 60


def again(recipe: Recipe, runs: Path, *, steps: int) -> Again:
    """Trains the first `steps` steps of a finished run, at least two, in memory."""
    parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
    record = record_of(recipe, runs)
    recorded, times = np.array(record.first_losses[:steps]), list[float]()
    # A recipe of fp32 leaves to the machine only what Muon multiplies, which no record names.
    half = recipe.precision == "bf16"
    with precision_as_recorded((record.precision or "bf16") if half else None):
        losses = reproduce(
            recipe,
            steps=len(recorded),
            parents=parents,
            work=runs / "work",
            on_step=lambda step: times.append(time.monotonic()),
        )
    difference = float(np.abs(np.array(losses) / recorded - 1).max())
    return Again(difference, (times[-1] - times[0]) / (len(times) - 1), record.steps)


def record_of(recipe: Recipe, runs: Path) -> Provenance:
    """What a run in `runs`, or the one of that name that is shipped, recorded.

    Raises:
        TrainingError: Neither is there.
    """
    model = runs / recipe.name / "model"
    if model.is_dir():
        return read_provenance(model)
    return read_record(SHIPPED / "provenance" / f"{recipe.name}.json")


def lacking(recipe: Recipe, runs: Path) -> list[str]:
    """Names of the runs that a recipe goes on from and `runs` does not hold.

    Models laid out by `python -m mutoscope.recipes.ship --unpack` are those that are shipped, and
    most of a chain is not.
    """
    return [each.name for each in recipe.parents if not (runs / each.name / "model").is_dir()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Tries every recipe of the cascade again, and prints a line for each."""
    parser = argparse.ArgumentParser(prog="python -m mutoscope.recipes.again")
    parser.add_argument("runs", type=Path, help="folder of the finished chain")
    parser.add_argument("steps", type=int, nargs="?", default=50, help="2 to 50")
    given = parser.parse_args(arguments)
    if not 2 <= given.steps <= NUM_FIRST_LOSSES:
        parser.error(f"STEPS is 2 to {NUM_FIRST_LOSSES}, of which losses are on record")
    folder = given.runs
    for link in mini.cascade():
        if missing := lacking(link, folder):
            print(f"{link.name}: not tried, {folder} lacks {', '.join(missing)}", flush=True)
            continue
        found = again(link, folder, steps=given.steps)
        print(
            f"{link.name}: losses within {found.difference:.2e} of the record; {found.seconds:.2f} "
            f"s a step, {found.minutes:.0f} minutes for all {found.steps}",
            flush=True,
        )


if __name__ == "__main__":
    main()
