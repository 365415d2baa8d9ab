"""Accuracy of readings against the truth of scenes, with intervals over prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mutoscope.metrics.oracle import Reading
from mutoscope.world.scene import Scene

SCORED = ("background", "colour", "shape", "motion")


@dataclass(frozen=True)
class Estimate:
    """A share with its 95 % interval.

    Attributes:
        value: The share, 0 to 1.
        low: Lower end of the interval.
        high: Upper end.
        count: Clips it was measured on.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        interval = f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"
        return f"{100 * self.value:.1f} % {interval} (n={self.count})"


def score(scene: Scene, reading: Reading, factors: Sequence[str] = SCORED) -> dict[str, bool]:
    """Whether each factor was read as the scene has it, and whether `all` were.

    A factor of objects is right when it is right for every object in its own place: colours swapped
    between two objects are two mistakes, and so is an object missing. A still object has no speed
    to be read.
    """
    right = {}
    for factor in factors:
        if factor in reading.scene:
            right[factor] = reading.scene[factor] == getattr(scene, factor)
        else:
            right[factor] = len(reading.things) >= len(scene.things) and all(
                seen[factor] == getattr(thing, factor)
                for thing, seen in zip(scene.things, reading.things, strict=False)
                if not (factor == "speed" and thing.motion == "still")
            )
    return right | {"all": all(right.values())}


def accuracy(
    scores: Sequence[Mapping[str, bool]], groups: Sequence[int], *, seed: int = 0
) -> dict[str, Estimate]:
    """Share of right readings per factor, with a bootstrap interval over prompts.

    Args:
        scores: What `score` gave, one per clip.
        groups: The prompt of each clip; clips of one prompt are drawn together, since they are not
            independent.
        seed: Seed of the bootstrap's draws.

    Returns:
        An estimate per factor; none where there is no clip.
    """
    if not scores:
        return {}
    prompts, position = np.unique(np.asarray(groups), return_inverse=True)
    size = np.bincount(position)
    draws = np.random.default_rng(seed).integers(len(prompts), size=(2000, len(prompts)))
    estimates = {}
    for factor in scores[0]:
        right = np.bincount(position, weights=[float(row[factor]) for row in scores])
        shares = right[draws].sum(axis=1) / size[draws].sum(axis=1)
        low, high = np.quantile(shares, (0.025, 0.975))
        value = float(right.sum() / size.sum())
        estimates[factor] = Estimate(value, float(low), float(high), len(scores))
    return estimates


def confusion(truth: Sequence[str], seen: Sequence[str], values: Sequence[str]) -> np.ndarray:
    """Counts, truth in rows and readings in columns, in the order of `values`."""
    matrix = np.zeros((len(values), len(values)), dtype=int)
    for was, read in zip(truth, seen, strict=True):
        matrix[values.index(was), values.index(read)] += 1
    return matrix
