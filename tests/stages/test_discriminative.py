"""Discriminative: its loss, what it compares, and that training tells true clips from its own."""

import copy
import math

import pytest
import torch
from torch import Generator, Tensor

from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.text import TextEncoder
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.first_frame import told_first_frames
from mutoscope.stages.discriminative import OWN, Discriminative
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Batch

LAW = VariancePreserving(betas="cosine", prediction="v")


@pytest.fixture(scope="module")
def text(tiny_system: LaVie) -> TextEncoder:
    return TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)


@pytest.fixture(scope="module")
def before(tiny_system: LaVie) -> VideoUNet:
    """A copy, for the stage freezes what it is given, and others train the system."""
    return copy.deepcopy(tiny_system.base)


def latents(seed: int) -> Tensor:
    return torch.randn(2, 4, 3, 8, 12, generator=Generator().manual_seed(seed))


def pairs(true: Tensor, own: Tensor) -> Batch:
    return Batch(captions=("a red star", "a blue circle"), latents=true, labels={OWN: own})


def moved(network: VideoUNet) -> VideoUNet:
    """A copy with other weights."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for number, parameter in enumerate(other.parameters()):
            noise = torch.randn(parameter.shape, generator=Generator().manual_seed(number))
            parameter.add_(0.02 * noise)
    return other


def test_while_nothing_is_learned_nothing_is_told_apart(
    before: VideoUNet, text: TextEncoder
) -> None:
    network = copy.deepcopy(before)
    for weight in (1.0, 3.0):
        stage = Discriminative(network, before, LAW, text, own_weight=weight)
        loss = stage.loss(pairs(latents(0), latents(1)), Generator().manual_seed(2))
        assert float(loss.value.detach()) == pytest.approx((1 + weight) * math.log(2))
        assert {float(each) for each in loss.report.values()} == {0.0}


def test_both_clips_of_a_pair_have_one_noise_one_time_and_one_caption(
    before: VideoUNet, text: TextEncoder
) -> None:
    """So of a pair of equal clips nothing can be told, whatever the weights."""
    stage = Discriminative(moved(before), before, LAW, text, text_dropout=0.5)
    alike = pairs(latents(0), latents(0))
    report = stage.loss(alike, Generator().manual_seed(2)).report
    assert float(report["true"]) != 0
    torch.testing.assert_close(report["true"], report["own"])
    other = stage.loss(pairs(latents(0), latents(1)), Generator().manual_seed(2)).report
    assert float(other["own"]) != pytest.approx(float(report["own"]))


def test_the_loss_is_that_of_a_discriminator(before: VideoUNet, text: TextEncoder) -> None:
    stage = Discriminative(moved(before), before, LAW, text, sharpness=20.0, own_weight=0.5)
    row = pairs(latents(0), latents(1)).split(2)[0]
    loss = stage.loss(row, Generator().manual_seed(2))
    true, own = (20 * float(loss.report[name]) for name in ("true", "own"))
    expected = -math.log(1 / (1 + math.exp(true))) - 0.5 * math.log(1 / (1 + math.exp(-own)))
    assert float(loss.value.detach()) == pytest.approx(expected, rel=1e-5)


def test_first_frames_are_never_told(before: VideoUNet, text: TextEncoder) -> None:
    network = told_first_frames(before)
    stage = Discriminative(moved(network), network, LAW, text)
    seen: list[Tensor] = []
    hook = stage.network.register_forward_pre_hook(
        lambda module, args, told: seen.append(told["sample"]), with_kwargs=True
    )
    stage.loss(pairs(latents(0), latents(1)), Generator().manual_seed(2))
    hook.remove()
    (sample,) = seen
    assert sample.shape[:2] == (4, 9)
    assert not sample[:, 4:].any()


@pytest.mark.slow
@pytest.mark.parametrize("own_weight", [1.0, pytest.param(0.0, marks=pytest.mark.long)])
def test_training_makes_true_clips_likelier_and_own_ones_not(
    before: VideoUNet, text: TextEncoder, own_weight: float
) -> None:
    """Without their weight own clips become likelier too, for they are nearly like true ones."""
    network = copy.deepcopy(before).train().requires_grad_(True)
    kept = {name: each.clone() for name, each in before.state_dict().items()}
    stage = Discriminative(network, before, LAW, text, sharpness=20.0, own_weight=own_weight)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    generator = Generator().manual_seed(0)
    shape = latents(0)[:, :, :1].expand(-1, -1, 3, -1, -1)

    def batch(seed: int) -> Batch:
        """True clips stand still; own ones flicker."""
        return pairs(shape + 0.1 * latents(seed), shape + latents(seed + 1))

    for step in range(40):
        optimizer.zero_grad()
        stage.loss(batch(2 * step + 2), generator).value.backward()
        optimizer.step()
    with torch.inference_mode():
        reports = [
            stage.loss(batch(10**6 + 2 * n), Generator().manual_seed(n)).report for n in range(8)
        ]
    true, own = (sum(float(r[name]) for r in reports) for name in ("true", "own"))
    assert true < 0
    assert (own > 0) == (own_weight > 0)
    assert all(torch.equal(each, kept[n]) for n, each in before.state_dict().items())
    assert not any(each.requires_grad for each in stage.before.network.parameters())
    assert set(stage.modules()) == {"network"}
