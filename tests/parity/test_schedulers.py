"""Our noise laws and diffusers' schedulers are the same numbers, both ways."""

from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from mutoscope.diffusion.process import RectifiedFlow, VariancePreserving, process_from
from mutoscope.errors import ModelError

TIMES = torch.tensor([0, 1, 17, 500, 998, 999])
CUSTOM = tuple(torch.linspace(2e-4, 0.03, 1000).tolist())
SCHEDULES = ["linear", "scaled_linear", "cosine", CUSTOM]
LAWS = [VariancePreserving(b, p) for b in SCHEDULES for p in ("epsilon", "v")]
FLOWS = [RectifiedFlow(), RectifiedFlow(shift=3.0)]


def name(process: object) -> str:
    text = repr(process)
    return text if len(text) < 80 else "custom betas"


def tensors(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, count, 2, 3, 4, 4, generator=generator))


def ddpm(process: VariancePreserving) -> DDPMScheduler:
    return DDPMScheduler.from_config(process.scheduler().config)


@pytest.mark.parametrize("process", LAWS, ids=name)
def test_noise_and_velocity_are_diffusers_bit_for_bit(process: VariancePreserving) -> None:
    clean, noise = tensors(len(TIMES))
    theirs = ddpm(process)
    time = TIMES.float()
    assert torch.equal(process.add_noise(clean, noise, time), theirs.add_noise(clean, noise, TIMES))
    velocity = theirs.get_velocity(clean, noise, TIMES)
    wanted = noise if process.prediction == "epsilon" else velocity
    assert torch.equal(process.target(clean, noise, time), wanted)


@pytest.mark.parametrize("process", LAWS, ids=name)
def test_clean_from_is_what_a_scheduler_reads_off_a_prediction(process: VariancePreserving) -> None:
    prediction, noisy = tensors(len(TIMES))
    theirs = ddpm(process)
    ours = process.clean_from(prediction, noisy, TIMES.float())
    for row, time in enumerate(TIMES):
        step = theirs.step(
            prediction[row], int(time), noisy[row], generator=torch.Generator().manual_seed(0)
        )
        torch.testing.assert_close(ours[row], step.pred_original_sample, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("process", FLOWS, ids=name)
def test_flow_noise_is_diffusers_at_every_time_of_its_grid(process: RectifiedFlow) -> None:
    theirs = process.scheduler()
    theirs.set_timesteps(6)
    clean, noise = tensors(6)
    torch.testing.assert_close(
        process.add_noise(clean, noise, theirs.timesteps),
        theirs.scale_noise(clean, theirs.timesteps, noise),
    )


@pytest.mark.parametrize("process", [*LAWS, *FLOWS], ids=name)
def test_one_step_with_a_perfect_prediction_lands_on_our_next_noisy_sample(
    process: VariancePreserving | RectifiedFlow,
) -> None:
    clean, noise = tensors(1)
    scheduler = process.scheduler()
    scheduler.set_timesteps(10)
    noisy = [process.add_noise(clean, noise, now.float().expand(1)) for now in scheduler.timesteps]
    # At alpha ~ 5e-5 an epsilon prediction loses four digits in x = (z - sigma e) / alpha.
    close = partial(torch.testing.assert_close, rtol=1e-3, atol=2e-3)
    # After the last of the grid there is no noise left at all.
    for now, here, following in zip(scheduler.timesteps, noisy, [*noisy[1:], clean], strict=True):
        prediction = process.target(clean, noise, now.float().expand(1))
        close(scheduler.step(prediction, now, here, return_dict=False)[0], following)


@pytest.mark.parametrize("process", [*LAWS, *FLOWS], ids=name)
def test_a_saved_scheduler_gives_its_process_back(
    process: VariancePreserving | RectifiedFlow, tmp_path: Path
) -> None:
    saved = process.scheduler()
    saved.save_pretrained(tmp_path)
    assert process_from(type(saved).from_pretrained(tmp_path)) == process or (
        # Numbers of a custom schedule come back as float32, which is all a scheduler uses.
        process.betas is CUSTOM
        and torch.equal(
            torch.tensor(process_from(type(saved).from_pretrained(tmp_path)).betas),
            torch.tensor(CUSTOM),
        )
    )


@pytest.mark.parametrize(
    "solver", [DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler, PNDMScheduler]
)
def test_the_law_does_not_depend_on_the_solver(solver: type[DDIMScheduler]) -> None:
    process = VariancePreserving("scaled_linear", "v")
    assert process_from(solver.from_config(process.scheduler().config)) == process
    for name in ("ddim", "dpm++", "unipc"):
        assert process_from(process.scheduler(name)) == process


def test_the_law_of_a_flow_does_not_depend_on_the_solver() -> None:
    process = RectifiedFlow(shift=2.0)
    other = FlowMatchHeunDiscreteScheduler.from_config(process.scheduler().config)
    assert process_from(other) == process


def test_a_schedule_of_no_name_is_kept_as_numbers() -> None:
    theirs = DDPMScheduler(beta_start=1e-4, beta_end=0.03, rescale_betas_zero_snr=True)
    process = process_from(theirs)
    clean, noise = tensors(len(TIMES))
    torch.testing.assert_close(
        process.add_noise(clean, noise, TIMES.float()), theirs.add_noise(clean, noise, TIMES)
    )


def test_other_laws_are_refused() -> None:
    with pytest.raises(ModelError, match="prediction_type='sample' has a noise law"):
        process_from(DDIMScheduler(prediction_type="sample"))
    with pytest.raises(ModelError, match="counts 500 steps: Mutoscope's times run over 1000"):
        process_from(FlowMatchEulerDiscreteScheduler(num_train_timesteps=500))
