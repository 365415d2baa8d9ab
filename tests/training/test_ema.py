"""Averaged weights: their law, and lending them to the modules."""

import pytest
import torch
from torch import nn

from mutoscope.errors import RequestError
from mutoscope.training.ema import Average


def walk(decay: float, steps: int) -> tuple[nn.Linear, Average, list[torch.Tensor]]:
    """A layer whose weights jump about, its average, and the weights it went through."""
    layer = nn.Linear(3, 2)
    average = Average(dict(layer.named_parameters()), decay=decay)
    generator = torch.Generator().manual_seed(0)
    passed = [layer.weight.detach().clone()]
    for _ in range(steps):
        with torch.no_grad():
            layer.weight.copy_(torch.randn(2, 3, generator=generator))
        average.update()
        passed.append(layer.weight.detach().clone())
    return layer, average, passed


def test_decay_zero_is_the_weights_themselves() -> None:
    layer, average, _ = walk(0.0, 5)
    assert torch.equal(average.weights["weight"], layer.weight)


def test_follows_the_warmed_up_recurrence() -> None:
    _, average, passed = walk(0.3, 6)
    expected = passed[0]
    for number, weight in enumerate(passed[1:]):
        keep = min(0.3, (1 + number) / (10 + number))
        expected = keep * expected + (1 - keep) * weight
    torch.testing.assert_close(average.weights["weight"], expected)


def test_constant_weights_are_their_own_average() -> None:
    layer = nn.Linear(3, 2)
    average = Average(dict(layer.named_parameters()), decay=0.99)
    for _ in range(10):
        average.update()
    assert torch.equal(average.weights["weight"], layer.weight)


def test_lends_the_average_in_evaluation_mode_and_takes_it_back() -> None:
    layer, average, _ = walk(0.5, 4)
    frozen = nn.Dropout().eval()
    whole = nn.Sequential(layer, frozen)
    layer.train()
    trained = layer.weight.detach().clone()
    with average.in_place({"whole": whole}) as modules:
        assert modules["whole"] is whole
        assert torch.equal(layer.weight, average.weights["weight"])
        assert not layer.training
    assert torch.equal(layer.weight, trained)
    assert (layer.training, frozen.training) == (True, False)


def test_takes_the_average_back_from_an_evaluation_that_fails() -> None:
    layer, average, _ = walk(0.5, 4)
    trained = layer.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), average.in_place({"layer": layer}):
        raise ZeroDivisionError
    assert torch.equal(layer.weight, trained)
    assert layer.training


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_refuses_a_decay_that_is_no_share(decay: float) -> None:
    with pytest.raises(RequestError, match="cannot be averaged with: it is a share in"):
        Average({}, decay=decay)
