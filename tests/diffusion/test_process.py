"""The two noise laws against their own equations."""

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mutoscope.diffusion.process import (
    Process,
    RectifiedFlow,
    VariancePreserving,
)
from mutoscope.errors import RequestError

PROCESSES: list[Process] = [
    VariancePreserving("linear", "epsilon"),
    VariancePreserving("scaled_linear", "v"),
    VariancePreserving("cosine", "v"),
    RectifiedFlow(),
]


def pair(batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(2, batch, 3, 2, 4, 4, generator=generator))


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(first=st.floats(0, 1000, width=32), second=st.floats(0, 1000, width=32))
def test_the_target_claims_the_clean_sample_at_every_time(
    process: Process, first: float, second: float
) -> None:
    clean, noise = pair(2)
    time = torch.tensor([first, second])
    noisy = process.add_noise(clean, noise, time)
    claimed = process.clean_from(process.target(clean, noise, time), noisy, time)
    # z - sigma e leaves alpha x, and 1 / alpha (up to 160 here) magnifies the rounding of z.
    torch.testing.assert_close(claimed, clean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_a_perfect_predictor_has_no_loss(process: Process) -> None:
    clean, noise = pair(3)
    time = torch.tensor([0.0, 400.0, 999.0])
    noisy = process.add_noise(clean, noise, time)
    if isinstance(process, RectifiedFlow):
        share = time.view(-1, 1, 1, 1, 1) / 1000
        perfect = torch.where(share > 0, (noisy - clean) / share.clamp(min=1e-6), noise - clean)
    else:
        alpha = process.add_noise(torch.ones_like(clean), torch.zeros_like(noise), time)
        sigma = process.add_noise(torch.zeros_like(clean), torch.ones_like(noise), time)
        perfect = (noisy - alpha * clean) / sigma
        if process.prediction == "v":
            perfect = alpha * perfect - sigma * clean
    loss = process.weight(time) * (perfect - process.target(clean, noise, time)).square().mean(
        dim=(1, 2, 3, 4)
    )
    assert loss.max() < 1e-8


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_data_at_time_0_and_noise_at_time_1000(process: Process) -> None:
    clean, noise = pair(1)
    torch.testing.assert_close(
        process.add_noise(clean, noise, torch.zeros(1)), clean, rtol=0, atol=0.12
    )
    torch.testing.assert_close(
        process.add_noise(clean, noise, torch.full((1,), 1000.0)), noise, rtol=0, atol=0.3
    )


@pytest.mark.parametrize("process", PROCESSES[:3], ids=repr)
@given(time=st.floats(0, 1000, width=32))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_the_law_preserves_variance_and_goes_straight_between_steps(
    process: VariancePreserving, time: float
) -> None:
    one, none = torch.ones(3, 1, 1, 1, 1), torch.zeros(3, 1, 1, 1, 1)
    times = torch.tensor([time, time // 1, min(time // 1 + 1, 999)])
    alpha = process.add_noise(one, none, times).flatten()
    sigma = process.add_noise(none, one, times).flatten()
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(3))
    here, below, above = alpha.double() ** 2
    share = min(time, 999) % 1
    torch.testing.assert_close(here, below + share * (above - below), rtol=1e-4, atol=1e-6)


def test_past_the_last_step_is_the_last_step() -> None:
    process = VariancePreserving()
    clean, noise = pair(1)
    last = process.add_noise(clean, noise, torch.tensor([999.0]))
    assert torch.equal(process.add_noise(clean, noise, torch.tensor([999.5])), last)
    assert torch.equal(process.add_noise(clean, noise, torch.tensor([1000.0])), last)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weighs_the_error_in_the_clean_sample(prediction: str, gamma: float) -> None:
    process = VariancePreserving("scaled_linear", prediction, min_snr=gamma)
    time = torch.tensor([0.0, 200.0, 500.0, 900.0])
    clean, noise = pair(4)
    noisy = process.add_noise(clean, noise, time)
    wrong = process.target(clean, noise, time) + 0.1
    error = (wrong - process.target(clean, noise, time)).square().mean(dim=(1, 2, 3, 4))
    clean_error = (process.clean_from(wrong, noisy, time) - clean).square().mean(dim=(1, 2, 3, 4))
    one, none = torch.ones(4, 1, 1, 1, 1), torch.zeros(4, 1, 1, 1, 1)
    snr = (process.add_noise(one, none, time) / process.add_noise(none, one, time)).flatten() ** 2
    wanted = snr.clamp(max=gamma) * clean_error
    torch.testing.assert_close(process.weight(time) * error, wanted, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_weight_is_one_unless_asked(process: Process) -> None:
    assert torch.equal(process.weight(torch.tensor([0.0, 999.0])), torch.ones(2))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_half_precision_in_is_half_precision_out(process: Process) -> None:
    clean, noise = (each.to(torch.bfloat16) for each in pair(2))
    time = torch.tensor([3.0, 990.0])
    noisy = process.add_noise(clean, noise, time)
    assert noisy.dtype == torch.bfloat16
    wanted = process.add_noise(clean.float(), noise.float(), time)
    torch.testing.assert_close(noisy.float(), wanted, rtol=0.02, atol=0.02)


def test_velocity_has_the_sign_of_diffusers() -> None:
    clean, noise = pair(1)
    assert torch.equal(RectifiedFlow().target(clean, noise, torch.tensor([500.0])), noise - clean)


def test_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # The suite checks types at run time and would refuse these names first; users' calls do not.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(RequestError, match="prediction='eps' is not known"):
        VariancePreserving("linear", "eps")
    with pytest.raises(RequestError, match="betas='line' is not a schedule: the named ones are"):
        VariancePreserving("line")


def test_bad_laws_are_refused() -> None:
    with pytest.raises(RequestError, match=r"2 betas from 0\.1 to 0\.2 make no schedule"):
        VariancePreserving((0.1, 0.2))
    with pytest.raises(RequestError, match="0 betas"):
        VariancePreserving(())
    with pytest.raises(RequestError, match=r"min_snr=0\.0 cannot weight a loss"):
        VariancePreserving(min_snr=0.0)
    with pytest.raises(RequestError, match=r"shift=-1\.0 makes no grid"):
        RectifiedFlow(shift=-1.0)
