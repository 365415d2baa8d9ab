"""Hard batches come in gradually, evenly spread, each source without gaps."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutoscope.data.mixture import GradualBatches
from mutoscope.errors import RequestError
from mutoscope.types import Batch


def mixture(begin: int, end: int) -> GradualBatches:
    return GradualBatches(
        simple=lambda number: Batch(captions=(f"simple {number}",)),
        hard=lambda number: Batch(captions=(f"hard {number}",)),
        begin=begin,
        end=end,
    )


@pytest.mark.slow
@settings(deadline=None)
@given(begin=st.integers(0, 30), rise=st.integers(0, 60))
def test_the_share_follows_the_step_and_no_batch_is_left_out_or_shown_twice(
    begin: int, rise: int
) -> None:
    end = begin + rise
    batches = mixture(begin, end)
    order = [batches(number).captions[0].split() for number in range(end + 20)]
    for kind in ("simple", "hard"):
        numbers = [int(number) for each, number in order if each == kind]
        assert numbers == list(range(len(numbers)))
    assert {kind for kind, _ in order[: begin + 1]} <= {"simple"} or rise < 2
    assert {kind for kind, _ in order[end + 1 :]} == {"hard"}
    expected = 0.0
    for number in range(end + 20):
        assert abs(batches.hard_before(number) - expected) <= 1
        expected += (batches.share(number) + batches.share(number + 1)) / 2


def test_hard_batches_are_spread_and_come_ever_closer() -> None:
    batches = mixture(100, 300)
    hard = [n for n in range(320) if batches(n).captions[0].startswith("hard")]
    shares = [sum(a <= n < a + 50 for n in hard) / 50 for a in (0, 100, 150, 200, 250)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[2] == pytest.approx(0.375, abs=0.03)
    gaps = [after - before for before, after in pairwise(hard)]
    assert max(gaps[: len(gaps) // 4]) > max(gaps[len(gaps) // 2 :])
    assert gaps[-10:] == [1] * 10


def test_a_rise_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(RequestError, match="from 5 to 4: the first is 0 or more"):
        mixture(5, 4)
