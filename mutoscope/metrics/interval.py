"""A mean over runs and clips with its 95 % interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end.
        runs: Runs that it was measured on.
        clips: Clips, or prompts, of each.
    """

    value: float
    low: float
    high: float
    runs: int
    clips: int

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def interval(
    measure: Callable[..., NDArray[np.float64] | float],
    *tables: NDArray[np.float64],
    seed: int = 0,
) -> Interval:
    """A figure made of means over runs and clips, with a bootstrap interval over both.

    Runs and clips are drawn anew independently of each other, since all runs see the same clips; an
    interval over clips alone would say nothing of another seed. Of a few runs it knows little: with
    three, one draw in nine shows one run alone, which makes the interval wide rather than narrow.

    Args:
        measure: From the mean of each table, in this order, to the figure: a difference, a ratio.
        tables: One figure per run (rows) and clip (columns); run `i` of one and clip `j` of one
            belong with those of every other, so that differences are paired.
        seed: Of the bootstrap's draws.

    Source: Owen and Eckles, "Bootstrapping data arrays of arbitrary order", Ann. Appl. Stat. 2012.
    """
    runs, clips = tables[0].shape
    draw = np.random.default_rng(seed)
    rows = draw.integers(runs, size=(DRAWS, runs))
    columns = draw.integers(clips, size=(DRAWS, clips))
    means = [table[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2)) for table in tables]
    low, high = np.quantile(measure(*means), (0.025, 0.975))
    value = measure(*(float(table.mean()) for table in tables))
    return Interval(float(value), float(low), float(high), runs, clips)
