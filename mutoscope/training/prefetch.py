"""The next batch is made while the present one is trained on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import torch

from mutoscope.types import Batch


@contextmanager
def prefetched(batches: Callable[[int], Batch], *, start: int) -> Iterator[Iterator[Batch]]:
    """Batches in order without end, each made by one thread while the one before it is used.

    An error in `batches` is raised by the `next` that would have returned that batch.

    Args:
        batches: Batch number i, a pure function of i.
        start: Number of the first.
    """

    def make(number: int) -> Batch:
        # Whether gradients are recorded is a setting of each thread, and on by default.
        with torch.no_grad():
            return batches(number)

    def in_order(thread: ThreadPoolExecutor) -> Iterator[Batch]:
        ahead = thread.submit(make, start)
        for number in count(start + 1):
            batch = ahead.result()
            ahead = thread.submit(make, number)
            yield batch

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:
        try:
            yield in_order(thread)
        finally:
            thread.shutdown(cancel_futures=True)
