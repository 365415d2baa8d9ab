"""A reader of random weights for tests of what is done with its readings."""

import pytest
import torch

from mutoscope.metrics.oracle import Oracle


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """An untrained oracle that does not read the same in everything; read-only, shared."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        oracle = Oracle((8, 16, 32)).eval()
    # An untrained reader says the same of everything; a larger first layer makes it differ.
    with torch.no_grad():
        oracle.trunk.stem.weight.mul_(20)
    return oracle
