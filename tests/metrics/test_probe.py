"""A linear probe reads what a matrix can, and no more."""

import torch

from mutoscope.metrics.probe import linear_probe


def test_it_reads_a_linear_code_and_not_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(5, (400,), generator=generator)
    code = torch.randn(5, 16, generator=generator)
    noise = torch.randn(400, 16, generator=generator)
    states = code[truth] + 0.1 * noise
    assert linear_probe((states[:300], truth[:300]), (states[300:], truth[300:])) == 1.0
    assert linear_probe((noise[:300], truth[:300]), (noise[300:], truth[300:])) < 0.4
