"""The sampling loop at its edges: progress, cancelling, precision, requests that cannot be met."""

import re

import pytest
import torch
from diffusers import HeunDiscreteScheduler
from torch import Generator, Tensor

from mutoscope.diffusion.denoise import OnStep, denoise, draw_noise
from mutoscope.diffusion.guidance import Unguided
from mutoscope.diffusion.process import RectifiedFlow, VariancePreserving
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
