"""Plots are written whole, and where matplotlib is missing that is said."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from mutoscope.errors import RequestError
from mutoscope.video.plots import plotted


def test_a_plot_has_its_size(tmp_path: Path) -> None:
    with plotted(tmp_path / "plot.png", width=3.0, height=2.0) as figure:
        figure.subplots().plot([0, 1], [1, 0])
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (330, 220)


def test_an_interrupted_plot_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), plotted(tmp_path / "plot.png", width=3.0, height=2.0):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with (
        pytest.raises(RequestError, match=r"pip install matplotlib"),
        plotted(tmp_path / "plot.png", width=3.0, height=2.0),
    ):
        pytest.fail("nothing is drawn")
    assert not list(tmp_path.iterdir())
