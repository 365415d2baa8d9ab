"""The step size follows its schedule, and AdamW shrinks matrices only."""

import pytest
import torch
from torch import nn

from mutoscope.errors import RequestError
from mutoscope.training.optim import AdamW, Schedule


def test_rises_in_a_line_stays_and_falls_to_zero() -> None:
    schedule = Schedule(warmup=4, decay=0.5)
    factors = [schedule.factor(step, step / 16) for step in range(17)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:9] == [1.0] * 5
    assert factors[9:] == pytest.approx([1 - part / 8 for part in range(1, 9)])
    assert factors[16] == 0


def test_a_cosine_falls_as_half_a_wave() -> None:
    schedule = Schedule(decay=1.0, shape="cosine")
    assert schedule.factor(0, 0.0) == 1
    assert schedule.factor(1, 0.5) == pytest.approx(0.5)
    assert schedule.factor(2, 0.25) == pytest.approx((1 + 0.5**0.5) / 2)
    assert schedule.factor(3, 1.0) == pytest.approx(0)


def test_without_warmup_and_decay_it_is_level() -> None:
    assert {Schedule().factor(step, step / 9) for step in range(10)} == {1.0}


def test_a_run_that_overshoots_its_time_does_not_turn_back() -> None:
    for shape in ("linear", "cosine"):
        assert Schedule(decay=0.5, shape=shape).factor(9, 1.5) == 0


def test_only_matrices_shrink() -> None:
    layer = nn.Linear(2, 2)
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}
    optimizer = AdamW(lr=0.1, weight_decay=0.5).build(dict(layer.named_parameters()))
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight, before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, before["bias"])


def test_the_fused_step_is_the_textbook_step_in_any_memory_layout() -> None:
    """Algorithm 2 of AdamW, written out: the kernel walks memory, so a layout could mislead it."""
    spec = AdamW(lr=0.1, betas=(0.5, 0.75), weight_decay=0.25)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, 2, 2, generator=generator)
    weight = nn.Parameter(start.clone().to(memory_format=torch.channels_last))
    optimizer = spec.build({"weight": weight})
    expected, first, second = start.clone(), torch.zeros(()), torch.zeros(())
    for step in range(1, 4):
        gradient = torch.randn(4, 3, 2, 2, generator=generator)
        weight.grad = gradient.to(memory_format=torch.channels_last)
        optimizer.step()
        first = 0.5 * first + 0.5 * gradient
        second = 0.75 * second + 0.25 * gradient**2
        expected = expected * (1 - 0.1 * 0.25)
        scaled = (first / (1 - 0.5**step)) / ((second / (1 - 0.75**step)).sqrt() + 1e-8)
        expected = expected - 0.1 * scaled
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"lr": 0.1, "clip": 0.0}, {"lr": 0.1, "weight_decay": -1.0}], ids=str
)
def test_refuses_settings_that_cannot_train(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="cannot train: lr and clip are above 0"):
        AdamW(**wrong)  # type: ignore[arg-type]


def test_refuses_betas_out_of_range() -> None:
    with pytest.raises(RequestError, match=r"betas=\(0.9, 1.0\) cannot be used"):
        AdamW(lr=0.1, betas=(0.9, 1.0))


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"decay": 1.5}], ids=str)
def test_refuses_a_schedule_that_cannot_be_followed(wrong: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="cannot be followed: warmup is 0 or more steps"):
        Schedule(**wrong)
