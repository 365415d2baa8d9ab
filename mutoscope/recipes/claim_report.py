"""What every claim command leaves: measurements kept as they are made, a table, a file, a plot."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mutoscope.errors import RequestError
from mutoscope.metrics.interval import Interval
from mutoscope.training.recipe import Recipe
from mutoscope.video.atomic import whole
from mutoscope.video.plots import plotted

Figures = dict[str, list[float]]
"""Name of a figure -> one number per clip, prompt or round."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A claim as it came out.

    Attributes:
        name: Of the claim; its files in RUNS are named by it.
        title: What was asked.
        unit: Of the figures.
        rows: Arm -> figure -> its interval; every arm has the same figures.
        verdicts: What the rule that was written down beforehand says of them.
        curves: Arm -> points of a curve over training steps, where the claim has one.
    """

    name: str
    title: str
    unit: str
    rows: Mapping[str, Mapping[str, Interval]]
    verdicts: Sequence[str]
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


def kept(place: Path, made_from: object, measure: Callable[[], Figures]) -> Figures:
    """What `measure` gives, from a file if it was measured before.

    Args:
        place: The file, written whole when the measurement is done; a killed command goes on with
            the next one.
        made_from: What the figures depend on, as plain values; a file of other ones is refused.
        measure: Makes the figures.

    Raises:
        RequestError: The file holds figures of something else.
    """
    wanted = json.loads(json.dumps(made_from))
    if place.is_file():
        found = json.loads(place.read_text())
        if found["made_from"] != wanted:
            raise RequestError(
                f"{place} holds figures of {found['made_from']}, and asked for are those of "
                f"{wanted}. Delete that file, or give another folder."
            )
        return {name: list(row) for name, row in found["figures"].items()}
    figures = measure()
    with whole(place) as draft:
        draft.write_text(json.dumps({"made_from": wanted, "figures": figures}, indent=1) + "\n")
    return figures


def by_run(
    recipes: Sequence[Recipe],
    measure: Callable[[Recipe], Figures],
    *,
    folder: Path,
    told: Mapping[str, object],
) -> dict[str, NDArray[np.float64]]:
    """Figures of several runs of one arm, each kept: a table of runs by clips for each figure.

    Args:
        recipes: One per seed.
        measure: Trains a recipe, if it is not yet, and measures what came of it.
        folder: Where measurements are kept.
        told: What they depend on beside the recipe.
    """
    runs = [
        kept(
            folder / f"{recipe.name}.json",
            {"recipe": recipe.hash(), **told},
            partial(measure, recipe),
        )
        for recipe in recipes
    ]
    return {name: np.array([run[name] for run in runs], np.float64) for name in runs[0]}


def publish(report: Report, runs: Path, console: Console) -> None:
    """Prints the table and the verdicts, and writes `RUNS/NAME.json` and `RUNS/NAME.png`."""
    figures = list(next(iter(report.rows.values())))
    table = Table(title=f"{report.title}\n{report.unit}; in brackets 95 % intervals")
    for heading in ("arm", *figures):
        table.add_column(heading)
    for arm, row in report.rows.items():
        table.add_row(arm, *(str(row[name]).replace("[", r"\[") for name in figures))
    console.print(table)
    for verdict in report.verdicts:
        console.print(verdict, highlight=False, soft_wrap=True, markup=False)
    with whole(runs / f"{report.name}.json") as draft:
        draft.write_text(json.dumps(asdict(report), indent=1) + "\n")
    plot(report, runs / f"{report.name}.png")


def plot(report: Report, place: Path) -> None:
    """Draws one panel per figure, arms side by side with their intervals, and one for the curves.

    Raises:
        RequestError: matplotlib is not installed.
    """
    names = list(next(iter(report.rows.values())))
    panels = len(names) + bool(report.curves)
    with plotted(place, width=3.2 * panels, height=3.4) as figure:
        axes = np.atleast_1d(figure.subplots(1, panels))
        for axis, name in zip(axes, names, strict=False):
            points = [row[name] for row in report.rows.values()]
            values = [point.value for point in points]
            below = [point.value - point.low for point in points]
            above = [point.high - point.value for point in points]
            axis.errorbar(range(len(points)), values, yerr=[below, above], fmt="o", capsize=4)
            axis.set_xticks(range(len(points)), list(report.rows), rotation=45)
            axis.set_xlim(-0.5, len(points) - 0.5)
            axis.set_title(name, fontsize="medium")
        if report.curves:
            for arm, curve in report.curves.items():
                axes[-1].plot(*zip(*curve, strict=True), marker=".", label=arm)
            axes[-1].set_xlabel("steps")
            axes[-1].legend()
        figure.suptitle(f"{report.title}\n{report.unit}", fontsize="medium")
