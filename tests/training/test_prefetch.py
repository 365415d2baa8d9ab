"""Batches come in order, one ahead, from one thread."""

import threading

import pytest
import torch

from mutoscope.training.prefetch import prefetched
from mutoscope.types import Batch


def test_numbers_come_in_order_from_the_start() -> None:
    with prefetched(lambda number: Batch(captions=(str(number),)), start=5) as batches:
        assert [next(batches).captions for _ in range(4)] == [("5",), ("6",), ("7",), ("8",)]


def test_the_next_batch_is_made_while_this_one_is_used() -> None:
    made = [threading.Event() for _ in range(4)]

    def make(number: int) -> Batch:
        made[number].set()
        return Batch()

    with prefetched(make, start=0) as batches:
        next(batches)
        assert made[1].wait(timeout=10)
        assert not made[2].is_set()


def test_no_gradients_are_recorded_and_one_thread_makes_all() -> None:
    seen = []

    def make(number: int) -> Batch:
        seen.append((torch.is_grad_enabled(), threading.get_ident()))
        return Batch()

    with prefetched(make, start=0) as batches:
        for _ in range(3):
            next(batches)
    assert len(set(seen)) == 1
    assert seen[0][0] is False
    assert seen[0][1] != threading.get_ident()


def test_an_error_comes_with_the_batch_it_belongs_to() -> None:
    def make(number: int) -> Batch:
        if number == 1:
            raise ZeroDivisionError
        return Batch()

    with prefetched(make, start=0) as batches:
        next(batches)
        with pytest.raises(ZeroDivisionError):
            next(batches)
