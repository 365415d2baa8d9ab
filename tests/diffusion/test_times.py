"""Distributions of training times."""

import pytest
import torch
from torch import Generator

from mutoscope.diffusion.times import LogitNormalTimes, TimeDraw, UniformTimes
from mutoscope.errors import RequestError

MANY = 40_000


def draw(times: TimeDraw, seed: int = 0, batch: int = MANY) -> torch.Tensor:
    return times.draw(batch, Generator().manual_seed(seed))


@pytest.mark.parametrize("times", [UniformTimes(), LogitNormalTimes(whole=True)], ids=repr)
def test_whole_times_are_the_thousand_steps(times: TimeDraw) -> None:
    drawn = draw(times)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, drawn.round())
    assert drawn.min() >= 0
    assert drawn.max() <= 999


@pytest.mark.parametrize("whole", [True, False])
def test_uniform_times_fill_every_tenth_alike(whole: bool) -> None:
    drawn = draw(UniformTimes(whole=whole))
    counts = torch.histc(drawn, bins=10, min=0, max=1000)
    # Five standard deviations of a binomial count.
    assert (counts - MANY / 10).abs().max() < 5 * (MANY * 0.1 * 0.9) ** 0.5
    if whole:
        assert len(drawn.unique()) == 1000


def test_real_times_are_not_whole() -> None:
    drawn = draw(UniformTimes(whole=False))
    assert (drawn != drawn.round()).float().mean() > 0.95


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-1.0, 0.5), (2.0, 2.0)])
def test_logit_normal_times_have_a_normal_logit(mean: float, std: float) -> None:
    logit = torch.logit(draw(LogitNormalTimes(mean, std)) / 1000)
    assert abs(float(logit.mean()) - mean) < 5 * std / MANY**0.5
    assert abs(float(logit.std()) / std - 1) < 0.02


def test_no_draw_reaches_1000() -> None:
    assert draw(LogitNormalTimes(mean=60.0)).max() < 1000
    assert draw(LogitNormalTimes(mean=60.0, whole=True)).max() == 999


@pytest.mark.parametrize("times", [UniformTimes(), LogitNormalTimes()], ids=repr)
def test_draws_come_from_the_generator_alone(times: TimeDraw) -> None:
    state = torch.get_rng_state()
    assert torch.equal(draw(times, 7), draw(times, 7))
    assert not torch.equal(draw(times, 7), draw(times, 8))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_spread_is_refused() -> None:
    with pytest.raises(RequestError, match=r"std=0\.0 spreads no times"):
        LogitNormalTimes(std=0.0)


def test_shifted_times_are_where_the_formula_puts_them() -> None:
    """Esser et al., arXiv 2403.03206, Eq. 23: the middle goes to s / (1 + s), the ends stay."""
    drawn = UniformTimes(shift=3.0).draw(20_000, torch.Generator().manual_seed(0))
    assert drawn.median().item() == pytest.approx(750, abs=10)
    assert drawn.min() < 1
    assert drawn.max() == 999
    plain = UniformTimes().draw(500, torch.Generator().manual_seed(1))
    same = UniformTimes(shift=1.0).draw(500, torch.Generator().manual_seed(1))
    assert torch.equal(plain, same)


def test_a_shift_is_positive() -> None:
    with pytest.raises(RequestError, match=r"shift=0.0 shifts no times"):
        UniformTimes(shift=0.0)


@pytest.mark.parametrize("whole", [True, False])
def test_no_time_lies_below_the_lowest(whole: bool) -> None:
    drawn = draw(UniformTimes(whole=whole, lowest=900.0))
    counts = torch.histc(drawn, bins=10, min=900, max=1000)
    assert (counts - MANY / 10).abs().max() < 5 * (MANY * 0.1 * 0.9) ** 0.5
    # A shift moves them within what is left: the median of u -> 8 u / (1 + 7 u) is 8/9.
    shifted = draw(UniformTimes(whole=False, shift=8.0, lowest=900.0))
    assert float(shifted.median()) == pytest.approx(900 + 100 * 8 / 9, abs=0.5)


@pytest.mark.parametrize("lowest", [-1.0, 1000.0])
def test_a_lowest_time_that_is_none_is_refused(lowest: float) -> None:
    with pytest.raises(RequestError, match="is no time"):
        UniformTimes(lowest=lowest)
