"""The sampling loop at its edges: progress, cancelling, precision, requests that cannot be met."""

import re
from dataclasses import replace

import pytest
import torch
from diffusers import HeunDiscreteScheduler, SchedulerMixin
from torch import Generator, Tensor

from mutoscope.diffusion.denoise import OnStep, calls_until, denoise, draw_noise
from mutoscope.diffusion.guidance import Unguided
from mutoscope.diffusion.process import Process, RectifiedFlow, VariancePreserving
from mutoscope.encoding.condition import Condition
from mutoscope.errors import Cancelled, RequestError

# diffusers builds its sigmas with np.array(tensor), which numpy has announced to change.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (2, 3, 4, 4)


def condition(batch: int, frames: Tensor | None = None) -> Condition:
    return Condition(
        text=torch.zeros(batch, 1, 1),
        text_mask=torch.ones(batch, 1, dtype=torch.bool),
        null_text=torch.zeros(batch, 1, 1),
        null_mask=torch.ones(batch, 1, dtype=torch.bool),
        frames=frames,
        frame_mask=None if frames is None else torch.ones(batch, frames.shape[2]).bool(),
    )


def predict(noisy: Tensor, time: Tensor, condition: Condition) -> Tensor:
    return 0.5 * noisy


def run(
    *,
    steps: int = 4,
    samples: int = 2,
    told: Condition | None = None,
    seeds: tuple[int, ...] = (0, 1),
    on_step: OnStep | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    noise = draw_noise(SHAPE, [Generator().manual_seed(seed) for seed in range(samples)])
    return denoise(
        predict,
        noise.to(dtype),
        scheduler=RectifiedFlow().scheduler(),
        steps=steps,
        condition=told or condition(2),
        guidance=Unguided(),
        generator=[Generator().manual_seed(seed) for seed in seeds],
        on_step=on_step,
    )


def test_on_step_counts_calls_and_shows_the_latents() -> None:
    seen: list[tuple[int, int]] = []
    shown: list[Tensor] = []

    def on_step(done: int, total: int, latents: Tensor) -> None:
        seen.append((done, total))
        shown.append(latents)

    result = run(on_step=on_step)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(shown[-1], result)
    assert not torch.equal(shown[0], shown[1])


def test_progress_of_a_second_order_solver_counts_network_calls() -> None:
    totals: list[int] = []
    scheduler = HeunDiscreteScheduler.from_config(VariancePreserving().scheduler().config)
    denoise(
        predict,
        draw_noise(SHAPE, [Generator()]),
        scheduler=scheduler,
        steps=4,
        condition=condition(1),
        guidance=Unguided(),
        generator=[Generator()],
        on_step=lambda done, total, latents: totals.append(total),
    )
    assert totals == [7] * 7


def test_cancelled_stops_at_once() -> None:
    calls: list[int] = []

    def stop_at_two(done: int, total: int, latents: Tensor) -> None:
        calls.append(done)
        if done == 2:
            raise Cancelled("stopped by the caller")

    with pytest.raises(Cancelled):
        run(on_step=stop_at_two)
    assert calls == [1, 2]


def test_one_step_is_enough_to_ask_for() -> None:
    assert run(steps=1).shape == (2, *SHAPE)


def test_the_result_keeps_the_precision_and_may_enter_training() -> None:
    result = run(dtype=torch.bfloat16)
    assert result.dtype == torch.bfloat16
    assert not result.is_inference()
    (result * torch.ones(1, dtype=torch.bfloat16, requires_grad=True)).sum().backward()


@pytest.mark.parametrize("steps", [0, -3, 1001])
def test_steps_out_of_range_are_refused(steps: int) -> None:
    with pytest.raises(RequestError, match=f"steps={steps} cannot be made: .* 1 to 1000 steps"):
        run(steps=steps)


def test_what_does_not_match_the_noise_is_refused() -> None:
    with pytest.raises(RequestError, match="condition for 3 samples and 2 generators do not fit"):
        run(told=condition(3))
    with pytest.raises(RequestError, match="condition for 2 samples and 1 generators do not fit"):
        run(seeds=(0,))
    wrong = re.escape("known frames of shape (2, 2, 5, 4, 4) do not fit a sample of shape (2, 2, 3")
    with pytest.raises(RequestError, match=wrong):
        run(told=condition(2, torch.zeros(2, 2, 5, 4, 4)))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 0, 4, 4)])
def test_noise_of_no_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=re.escape(f"noise of 1 samples of shape {shape}")):
        draw_noise(shape, [Generator()])


def test_noise_of_no_samples_is_refused() -> None:
    with pytest.raises(RequestError, match="noise of 0 samples"):
        draw_noise(SHAPE, [])


V = VariancePreserving(betas="cosine", prediction="v")
LAWS = [
    (V, V.scheduler("ddim")),
    (V, V.scheduler("dpm++")),
    (V, V.scheduler("unipc")),
    (VariancePreserving(), VariancePreserving().scheduler("dpm++")),
    (RectifiedFlow(), RectifiedFlow().scheduler()),
]


@pytest.mark.parametrize(("law", "scheduler"), LAWS)
def test_frames_known_for_a_while_are_then_as_noisy_as_all_others(
    law: Process, scheduler: SchedulerMixin
) -> None:
    """What is claimed of them meanwhile, and what other frames do, leaves no trace in them."""
    frames = torch.randn(1, *SHAPE, generator=Generator().manual_seed(7))
    told = condition(1, frames)
    told = replace(told, frame_mask=torch.tensor([[True, False, False]]), frames_until=450.0)
    noise = draw_noise(SHAPE, [Generator().manual_seed(1)])
    seen: dict[float, Tensor] = {}

    def wild(noisy: Tensor, time: Tensor, told: Condition) -> Tensor:
        seen[float(time[0])] = noisy[:, :, :1]
        return 3 * noisy + 1

    asked = {"scheduler": scheduler, "steps": 10, "condition": told, "guidance": Unguided()}
    generator = [Generator()]
    drawn = denoise(wild, noise, generator=generator, law=law, **asked)
    for time, first in seen.items():
        if time >= 450:
            assert torch.equal(first, frames[:, :, :1])
    left = max(time for time in seen if time < 450)
    wanted = law.add_noise(frames, noise, torch.full((1,), left))[:, :, :1]
    torch.testing.assert_close(seen[left], wanted, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(drawn[:, :, :1], frames[:, :, :1], atol=0.1)
    with pytest.raises(RequestError, match="without the noise law"):
        denoise(wild, noise, generator=generator, **asked)


@pytest.mark.parametrize(("law", "scheduler"), LAWS)
def test_a_loop_that_is_left_gives_what_was_claimed_there(
    law: Process, scheduler: SchedulerMixin
) -> None:
    clean = torch.randn(1, *SHAPE, generator=Generator().manual_seed(7))
    noise = draw_noise(SHAPE, [Generator().manual_seed(1)])
    steps: list[tuple[int, int]] = []

    def knows(noisy: Tensor, time: Tensor, told: Condition) -> Tensor:
        """Claims the clean sample below time 450 alone."""
        return law.target(clean if time[0] < 450 else 0 * clean, noise, time)

    left = denoise(
        knows,
        noise,
        scheduler=scheduler,
        steps=10,
        condition=condition(1),
        guidance=Unguided(),
        generator=[Generator()],
        law=law,
        until=450.0,
        on_step=lambda done, total, _: steps.append((done, total)),
    )
    # The noise that is left was scaled for nothing being there.
    share = law.add_noise(0 * clean, torch.ones_like(noise), torch.full((1,), 450.0)).mean()
    assert (left - clean).abs().mean() < 2 * share
    assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]
    assert len(steps) == calls_until(scheduler, 10, 450.0) < 10
    assert calls_until(scheduler, 10, 0.0) == 10
