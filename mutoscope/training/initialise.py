"""Random weights from a seed, whatever else the process has drawn."""

from collections.abc import Callable
from typing import TypeVar

import torch

Built = TypeVar("Built")


def from_seed(seed: int, build: Callable[[], Built]) -> Built:
    """What `build` returns when its weights are drawn from `seed`; the global generator stays.

    Constructors of modules draw from torch's global generator and take no other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
