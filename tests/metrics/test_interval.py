"""Intervals over runs and clips: they hold the truth, and pair what belongs together."""

import numpy as np

from mutoscope.metrics.interval import interval


def test_a_figure_of_one_number_is_sure_and_pairs_cancel() -> None:
    table = np.random.default_rng(0).normal(size=(3, 40))
    sure = interval(lambda mean: mean, np.full((3, 40), 2.5))
    assert (sure.value, sure.low, sure.high, sure.runs, sure.clips) == (2.5, 2.5, 2.5, 3, 40)
    shift = interval(lambda a, b: a - b, table + 1, table)
    np.testing.assert_allclose([shift.low, shift.value, shift.high], 1.0)
    assert interval(lambda mean: mean, table).high - interval(lambda mean: mean, table).low > 0.1


def test_runs_that_differ_widen_it_though_clips_agree() -> None:
    runs = np.array([[0.0], [1.0], [2.0]]) + np.zeros((3, 500))
    wide = interval(lambda mean: mean, runs)
    assert (wide.low, wide.high) == (0.0, 2.0)
    narrow = interval(lambda mean: mean, runs.mean(axis=0, keepdims=True))
    assert narrow.high - narrow.low < 1e-12


def test_it_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(60):
        table = draw.normal(size=(6, 1)) + draw.normal(size=(1, 50)) + draw.normal(size=(6, 50))
        found = interval(lambda mean: mean, table)
        held += found.low <= 0 <= found.high
    assert 46 <= held <= 60  # of six runs a bootstrap promises 95 % and keeps about 88 %
