"""The only sampling loop in the package: from noise to latents with any diffusers scheduler."""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from diffusers import SchedulerMixin
from einops import rearrange
from jaxtyping import Bool
from torch import Generator, Tensor

from mutoscope.diffusion.guidance import Droppable, Guidance
from mutoscope.diffusion.process import Process
from mutoscope.errors import RequestError
from mutoscope.types import Latents, Times

ToldT = TypeVar("ToldT", bound="Told")


@runtime_checkable
class Told(Droppable, Protocol):
    """All that the loop knows of a condition, besides that guidance drops parts of it."""

    @property
    def batch_size(self) -> int:
        """Number of samples it describes."""
        ...

    @property
    def frames(self) -> Latents | None:
        """Known frames, on the grid of the sample."""
        ...

    @property
    def frame_mask(self) -> Bool[Tensor, "B F"] | None:
        """True where a frame is known."""
        ...

    @property
    def frames_until(self) -> float:
        """The least noisy time at which they are."""
        ...

    @classmethod
    def stack(cls: type[ToldT], parts: Sequence[ToldT]) -> ToldT:
        """One condition whose batch is that of all `parts`, in order."""
        ...


OnStep = Callable[[int, int, Tensor], None]
"""`on_step(done, total, latents)`: called after each network call; raise `Cancelled` to stop."""


def denoise(
    predict: Callable[[Latents, Times, ToldT], Latents],
    noise: Latents,
    *,
    scheduler: SchedulerMixin,
    steps: int,
    condition: ToldT,
    guidance: Guidance,
    generator: Sequence[Generator],
    apart: bool = False,
    once: Callable[[ToldT], ToldT] | None = None,
    law: Process | None = None,
    until: float = 0.0,
    on_step: OnStep | None = None,
) -> Latents:
    """Turns noise into a sample; the branches of guidance share one network call per step.

    Args:
        predict: The network: noisy latents (as the scheduler scales them), times and a condition
            to a prediction. With k branches its batch is k B, branch after branch.
        noise: Standard normal, B C F H W (see `draw_noise`).
        scheduler: Any diffusers scheduler of the network's law; it is copied, never changed.
        steps: Steps of the scheduler, 1 to 1000. Second-order ones call the network more often.
        condition: What the network is told. Frames under `condition.frame_mask` are pinned: the
            network sees them clean at every step, and they come back as they are. Where they are
            known in much noise only (`frames_until`), they are drawn like any other from there on,
            from the noise that they would have then.
        guidance: Which branches are asked for, and how their predictions combine.
        generator: One per sample, for schedulers that add noise as they go; advanced only then.
        apart: Whether each branch has a network call of its own instead: half the memory.
        once: What is done to the condition of each network call before the first step, so that
            `predict` need not do it in every step; None for nothing.
        law: The noise law; not needed where frames are known at all times and `until` is 0.
        until: Where it is not to go on to the end: what the network claims to be the clean sample
            at the first time below this is returned.
        on_step: Called after each step with calls done (from 1), calls in total and the
            latents so far; raising `Cancelled` stops the loop.

    Returns:
        Clean latents with the shape, dtype and device of `noise`.

    Raises:
        RequestError: `steps` is out of range, or condition, generators and noise do not match.
    """
    _check_request(noise, scheduler, steps, condition, generator)
    early = condition.frames if condition.frames_until > 0 else None
    if law is None and (early is not None or until > 0):
        raise RequestError(
            "known frames cannot be left on the way, nor the way itself, without the noise law: it "
            "says how noisy they are there. Pass law."
        )
    # Schedulers keep state between steps; the caller's stays fit for the next call.
    solver: Any = copy.deepcopy(scheduler)
    extra: dict[str, object] = {"return_dict": False}
    if "generator" in inspect.signature(solver.step).parameters:
        extra["generator"] = list(generator)
    with torch.inference_mode():
        solver.set_timesteps(steps, device=noise.device)
        branches = guidance.branches(condition)
        calls = branches if apart or len(branches) == 1 else [branches[0].stack(branches)]
        calls = calls if once is None else [once(told) for told in calls]
        # Flow schedulers work on a sample of unit scale and have neither of these two members.
        rescale = getattr(solver, "scale_model_input", lambda sample, _: sample)
        begun = noise
        if law is not None and early is not None:
            # Even the noisiest step shows a little, and some predictions are told apart by it.
            first = solver.timesteps[:1].to(torch.float32).expand(len(noise))
            begun = torch.where(
                _known(condition), law.add_noise(early.to(noise), noise, first), noise
            )
        latents = begun * getattr(solver, "init_noise_sigma", 1.0)
        total = _calls_until(solver, until)
        for done, now in enumerate(solver.timesteps[:total], start=1):
            noisy = rescale(latents, now)
            held = float(now) >= condition.frames_until
            seen = pinned(noisy, condition) if held else noisy
            seen = seen.repeat(len(branches) // len(calls), 1, 1, 1, 1)
            time = now.to(torch.float32).expand(len(seen))
            answers = torch.cat([predict(seen, time, told) for told in calls])
            predictions = answers.chunk(len(branches))
            prediction = guidance.combine(predictions, condition, float(now))
            if law is not None and now < until:
                latents = law.clean_from(prediction, noisy, time[: len(noisy)])
            else:
                if law is not None and early is not None and held:
                    claimed = law.target(early.to(noise), noise, time[: len(noise)])
                    prediction = torch.where(_known(condition), claimed, prediction)
                (latents, *_) = solver.step(prediction, now, latents, **extra)
            if early is None:
                latents = pinned(latents, condition)
            if on_step is not None:
                on_step(done, total, latents)
    # Copied outside inference mode: an ordinary tensor, which may go on into training.
    return latents.clone()


def draw_noise(shape: tuple[int, ...], generators: Sequence[Generator]) -> Latents:
    """Standard normal noise that depends on each sample's generator alone, not on its batch.

    Args:
        shape: Of one sample, C F H W.
        generators: One per sample, on one device.

    Returns:
        Noise (B C F H W), float32, on the generators' device.

    Raises:
        RequestError: There are no generators, or `shape` is not four positive numbers.
    """
    if not generators or len(shape) != 4 or min(shape) < 1:
        raise RequestError(
            f"noise of {len(generators)} samples of shape {shape} cannot be drawn: it takes one "
            "generator per sample and a shape of four positive numbers, C F H W. Pass these."
        )
    return torch.stack(
        [torch.randn(shape, generator=each, device=each.device) for each in generators]
    )


def calls_until(scheduler: SchedulerMixin, steps: int, until: float) -> int:
    """Network calls that `denoise` makes in so many steps, if it ends below a time.

    Args:
        scheduler: As of `denoise`.
        steps: As of `denoise`.
        until: As of `denoise`.

    Raises:
        RequestError: `steps` is out of range.
    """
    _check_steps(scheduler, steps)
    solver: Any = copy.deepcopy(scheduler)
    solver.set_timesteps(steps)
    return _calls_until(solver, until)


def _calls_until(solver: Any, until: float) -> int:
    """The same, of a scheduler whose times are set."""
    times = solver.timesteps
    return min(len(times), int((times >= until).sum()) + 1)


def pinned(latents: Latents, condition: Told) -> Latents:
    """The latents with every known frame in its place."""
    if condition.frames is None or condition.frame_mask is None:
        return latents
    return torch.where(_known(condition), condition.frames.to(latents), latents)


def _known(condition: Told) -> Bool[Tensor, "B 1 F 1 1"]:
    """Where frames are known."""
    assert condition.frame_mask is not None
    return rearrange(condition.frame_mask, "b f -> b 1 f 1 1")


def _check_steps(scheduler: SchedulerMixin, steps: int) -> None:
    """Refuses numbers of steps that a scheduler has no times for."""
    most = int(scheduler.config["num_train_timesteps"])
    if not 1 <= steps <= most:
        raise RequestError(
            f"steps={steps} cannot be made: a sampler takes 1 to {most} steps. Use e.g. 50."
        )


def _check_request(
    noise: Tensor,
    scheduler: SchedulerMixin,
    steps: int,
    condition: Told,
    generator: Sequence[Generator],
) -> None:
    """Refuses what would otherwise fail deep inside a scheduler, or not at all."""
    _check_steps(scheduler, steps)
    samples = len(noise)
    if condition.batch_size != samples or len(generator) != samples:
        raise RequestError(
            f"a condition for {condition.batch_size} samples and {len(generator)} generators do "
            f"not fit noise for {samples} samples: each sample has one of each. Pass {samples}."
        )
    if condition.frames is not None and condition.frames.shape != noise.shape:
        raise RequestError(
            f"known frames of shape {tuple(condition.frames.shape)} do not fit a sample of shape "
            f"{tuple(noise.shape)}: they lie on the same grid. Pass them on that grid, and say in "
            "frame_mask which are known."
        )
