"""What the rules that were written down before the runs say of made-up results."""

import pytest

from mutoscope.metrics.accuracy import Estimate
from mutoscope.recipes import claims


def row(low: float, high: float, error: float = 0.2) -> dict[str, object]:
    return {"stills": Estimate((low + high) / 2, low, high, 300), "error": error}


BEFORE = row(0.7, 0.8)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([row(0.3, 0.4), row(0.7, 0.8), row(0.65, 0.75)], "video-only; the claim holds"),
        ([row(0.6, 0.71), row(0.7, 0.8), row(0.7, 0.8)], "none; the claim does not hold"),
        ([row(0.3, 0.4), row(0.7, 0.8), row(0.3, 0.4)], "video-only, joint; the claim does not"),
    ],
)
def test_forgetting_is_an_interval_below_that_of_the_image_model(arms, said: str) -> None:
    report = {"before": BEFORE} | dict(zip(claims.ARMS, arms, strict=True))
    assert f"forgets: {said}" in claims.verdict(report)


@pytest.mark.parametrize(("error", "said"), [(0.2019, "no price"), (0.2021, "a price")])
def test_more_than_one_percent_of_error_on_clips_is_a_price(error: float, said: str) -> None:
    same = row(0.7, 0.8)
    report = {"before": BEFORE, "video-only": same, "temporal-only": same}
    assert claims.verdict(report | {"joint": row(0.7, 0.8, error)}).endswith(f"which is {said}.")
