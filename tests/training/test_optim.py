"""The step size follows its schedule, and AdamW shrinks matrices only."""

import pytest
import torch
from torch import nn

from mutoscope.errors import RequestError
from mutoscope.training.optim import TIMES, AdamW, MatrixMomentum, Muon, Schedule, orthogonal


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
    (optimizer,) = AdamW(lr=0.1, weight_decay=0.5).build(dict(layer.named_parameters()))
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight, before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, before["bias"])


def test_new_words_have_steps_of_their_own_and_never_shrink() -> None:
    spec = AdamW(lr=0.1, weight_decay=0.5, words=5.0)
    layer, word = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(1, 2))
    (optimizer,) = spec.build({"layer": layer, "table.trainable_tokens_delta.default": word})
    assert [group.get(TIMES, 1.0) for group in optimizer.param_groups] == [1.0, 5.0]
    for parameter in (layer, word):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert (layer < 1).all()
    assert (word == 1).all()


def test_the_fused_step_is_the_textbook_step_in_any_memory_layout() -> None:
    """Algorithm 2 of AdamW, written out: the kernel walks memory, so a layout could mislead it."""
    spec = AdamW(lr=0.1, betas=(0.5, 0.75), weight_decay=0.25)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, 2, 2, generator=generator)
    weight = nn.Parameter(start.clone().to(memory_format=torch.channels_last))
    (optimizer,) = spec.build({"weight": weight})
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
    "wrong",
    [
        {"lr": 0.0},
        {"lr": 0.1, "clip": 0.0},
        {"lr": 0.1, "words": 0.0},
        {"lr": 0.1, "weight_decay": -1.0},
    ],
    ids=str,
)
def test_refuses_settings_that_cannot_train(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="cannot train: lr, clip and words are above 0"):
        AdamW(**wrong)  # type: ignore[arg-type]


def test_refuses_betas_out_of_range() -> None:
    with pytest.raises(RequestError, match=r"betas=\(0.9, 1.0\) cannot be used"):
        AdamW(lr=0.1, betas=(0.9, 1.0))


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"decay": 1.5}], ids=str)
def test_refuses_a_schedule_that_cannot_be_followed(wrong: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="cannot be followed: warmup is 0 or more steps"):
        Schedule(**wrong)


@pytest.mark.parametrize("shape", [(5, 16, 40), (5, 40, 16), (1, 24, 24)], ids=str)
def test_orthogonal_keeps_directions_and_evens_out_their_sizes(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    result = orthogonal(matrices)
    # In the basis of the matrix's own directions the result is nearly a multiple of one.
    inner = left.mT @ result @ right.mT
    sizes = inner.diagonal(dim1=1, dim2=2)
    # The smallest direction of a random square matrix is near nothing and is not made whole.
    assert float(sizes[..., : sizes.shape[1] * 3 // 4].min()) > 0.6
    assert float(sizes.max()) < 1.3
    assert float((inner - torch.diag_embed(sizes)).abs().max()) < 0.05


def test_orthogonal_of_nothing_is_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_a_muon_step_is_momentum_made_orthogonal_in_any_memory_layout() -> None:
    """Written out for one convolution over three steps, next to a bias that AdamW moves."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(8, 3, 2, 2, generator=generator)
    layer = nn.Conv2d(3, 8, 2).to(memory_format=torch.channels_last)
    with torch.no_grad():
        layer.weight.copy_(start)
        layer.bias.zero_()  # type: ignore[union-attr]
    optimizers = Muon(lr=0.1, momentum=0.5, weight_decay=0.25).build(dict(layer.named_parameters()))
    expected, average = start.clone(), torch.zeros(8, 3, 2, 2)
    for _ in range(3):
        gradient = torch.randn(8, 3, 2, 2, generator=generator)
        layer.weight.grad = gradient.to(memory_format=torch.channels_last)
        layer.bias.grad = torch.ones(8)  # type: ignore[union-attr]
        for optimizer in optimizers:
            optimizer.step()
        average = 0.5 * average + 0.5 * gradient
        ahead = (0.5 * gradient + 0.5 * average).reshape(1, 8, 12)
        step = orthogonal(ahead).reshape(8, 3, 2, 2) * 0.2 * 12**0.5
        expected = expected * (1 - 0.1 * 0.25) - 0.1 * step
    torch.testing.assert_close(layer.weight.detach(), expected)
    # Ones every time: three whole steps of AdamW, whose bias does not shrink.
    torch.testing.assert_close(layer.bias.detach(), torch.full((8,), -0.3))  # type: ignore[union-attr]


def test_muon_leaves_embeddings_and_vectors_to_adamw() -> None:
    parameters = {
        "proj.weight": nn.Parameter(torch.ones(3, 3)),
        "token_embedding.weight": nn.Parameter(torch.ones(3, 3)),
        "norm.weight": nn.Parameter(torch.ones(3)),
    }
    matrices, others = Muon(lr=0.1).build(parameters)
    assert isinstance(matrices, MatrixMomentum)
    assert matrices.param_groups[0]["params"] == [parameters["proj.weight"]]
    assert sum(len(group["params"]) for group in others.param_groups) == 2
    (alone,) = Muon(lr=0.1).build({"norm.weight": parameters["norm.weight"]})
    assert isinstance(alone, torch.optim.AdamW)


@pytest.mark.slow
def test_muon_learns_what_rarely_shows() -> None:
    """Two directions of one layer, one seen with a hundredth of the other's strength.

    Plain gradient steps would take the weak one ten thousand times as long.
    """
    layer = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(layer.weight)
    (optimizer,) = Muon(lr=0.1, weight_decay=0.0).build({"proj.weight": layer.weight})
    inputs = torch.diag(torch.tensor([1.0, 0.01]))
    for _ in range(200):
        loss = (layer(inputs) - inputs).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(layer.weight.detach(), torch.eye(2), atol=0.1, rtol=0)


def test_refuses_a_momentum_out_of_range() -> None:
    with pytest.raises(RequestError, match=r"momentum=1\.0 cannot be used"):
        Muon(lr=0.1, momentum=1.0)
    with pytest.raises(RequestError, match="cannot train: lr, clip and words are above 0"):
        Muon(lr=0.0)
