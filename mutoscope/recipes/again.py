"""Trains the first steps of each recipe of a chain again, and compares the losses with the record.

Command: `python -m mutoscope.recipes.again RUNS [STEPS]`, where RUNS holds the finished chain.
"""

import sys
from pathlib import Path

import numpy as np

from mutoscope.recipes import mini
from mutoscope.training.provenance import read_provenance
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import reproduce


def again(recipe: Recipe, runs: Path, *, steps: int) -> float:
    """The largest relative difference between the losses of `steps` steps and the recorded ones.

    Threads add in their own order, so only the same machine with as many threads gives exactly 0.
    """
    parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
    recorded = np.array(read_provenance(runs / recipe.name / "model").first_losses[:steps])
    losses = reproduce(recipe, steps=len(recorded), parents=parents, work=runs / "work")
    return float(np.abs(np.array(losses) / recorded - 1).max())


if __name__ == "__main__":
    for link in mini.final().chain():
        found = again(link, Path(sys.argv[1]), steps=int(sys.argv[2]) if len(sys.argv) > 2 else 50)
        print(f"{link.name}: losses within {found:.2e} of the record", flush=True)
