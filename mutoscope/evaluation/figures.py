"""Figures of clips gathered into means with intervals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mutoscope.evaluation.kept import Row
from mutoscope.metrics.interval import Interval, interval


def column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """A figure of every clip, NaN where it was not measured."""
    return np.array([row.get(name, np.nan) for row in rows], np.float64)


def add_mean(figures: dict[str, Interval], name: str, values: NDArray[np.float64]) -> None:
    """Adds the mean of those values that are finite, where there are two or more."""
    there = values[np.isfinite(values)]
    if len(there) > 1:
        figures[name] = interval(lambda mean: mean, there[None])
