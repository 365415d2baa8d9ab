"""Plots: figures of matplotlib, which only those who measure need to install."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mutoscope.errors import RequestError
from mutoscope.video.atomic import whole


@contextmanager
def plotted(place: Path, *, width: float, height: float) -> Iterator[Any]:
    """A figure of matplotlib to draw into, which is then written to `place`, whole or not at all.

    Args:
        place: A .png file.
        width: Inches, of 110 pixels each.
        height: Inches.

    Raises:
        RequestError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise RequestError(
            f"{place} cannot be drawn: matplotlib is not installed. Table and figures are made; "
            "run `pip install matplotlib`, and the same command again for the plot."
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with whole(place) as draft:
        figure.savefig(draft, dpi=110)
