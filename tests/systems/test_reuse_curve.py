"""The curve of reuse: what it allows, and what it holds for."""

from dataclasses import replace
from pathlib import Path

import pytest

from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.errors import ModelError, RequestError
from mutoscope.systems.reuse_curve import Curve, Point, curve_text, read_curve, read_loss


def curve(**changes: object) -> Curve:
    """A curve that the tiny system could have."""

    def point(interval: int, layers: int, loss: float, time: float) -> Point:
        return Point(
            interval=interval,
            layers=layers,
            loss=loss,
            loss_low=0.9 * loss,
            loss_high=1.2 * loss,
            time=time,
        )

    points = (point(2, 2, 0.01, 0.8), point(2, 1, 0.02, 0.9), point(3, 1, 0.03, 0.5))
    made = Curve(
        weights="w",
        steps=3,
        guidance=2.0,
        early_guidance=1.0,
        early_until=900.0,
        draft_until=800.0,
        prompts=8,
        date="2026-01-02",
        points=points,
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("most", "interval"),
    [(0.0, None), (0.0119, None), (0.0121, (2, 2)), (0.03, (2, 2)), (0.0361, (3, 1))],
)
def test_the_fastest_is_taken_whose_loss_is_surely_allowed(
    most: float, interval: tuple[int, int] | None
) -> None:
    """Neither a mean that happens to be low enough, nor a slower way that loses more."""
    best = curve().fastest_within(most)
    assert (None if best is None else (best.interval, best.layers)) == interval


def test_what_saves_no_time_is_not_taken() -> None:
    (first, *_) = curve().points
    assert curve(points=(replace(first, time=1.1),)).fastest_within(1.0) is None


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "reuse.json").write_text(curve_text(curve()))
    assert read_curve(tmp_path) == curve()


def test_it_holds_for_what_it_was_measured_for_alone() -> None:
    curve().check("w", 3, TextGuidance(2.0), 800.0)
    with pytest.raises(RequestError, match=r"for others \(w; these are v\)"):
        curve().check("v", 3, TextGuidance(2.0), 800.0)
    others = (4, TextGuidance(2.0)), (3, TextGuidance(7.5)), (3, TextGuidance(2.0, early=2.0))
    for steps, guidance in others:
        with pytest.raises(RequestError, match=r"measured for 3 and guidance 2\. Use these"):
            curve().check("w", steps, guidance, 800.0)
    further = curve(early_guidance=2.0, early_until=850.0)
    further.check("w", 3, TextGuidance(2.0, early=2.0, early_until=850.0), 800.0)
    with pytest.raises(RequestError, match=r"guidance 2, 2 times that from time 850 on\. Use"):
        further.check("w", 3, TextGuidance(2.0, early=2.0), 800.0)
    with pytest.raises(RequestError, match=r"with draft_until=None: it was measured with 800"):
        curve().check("w", 3, TextGuidance(2.0), None)


def test_a_model_without_one_says_how_to_measure_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"First measure it: python -m benchmarks\.reuse"):
        read_curve(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"points": [{"interval": 2}]}'])
def test_a_damaged_one_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "reuse.json").write_text(text)
    with pytest.raises(ModelError, match=r"reuse\.json is damaged"):
        read_curve(tmp_path)


@pytest.mark.parametrize(("text", "loss"), [("0", 0), ("2%", 0.02), (" 1.5 %", 0.015)])
def test_a_percentage_is_a_share(text: str, loss: float) -> None:
    assert read_loss(text) == pytest.approx(loss)


@pytest.mark.parametrize("text", ["", "some", "-1", "101%", "nan", "2 points"])
def test_other_figures_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        read_loss(text)
