"""The noise law and the meaning of the prediction: variance-preserving and rectified flow.

Legend, as in the papers: x is clean data, e standard normal noise, z_t the noisy sample at time t.
Both laws are z_t = alpha_t x + sigma_t e; they differ in alpha and sigma, and in what the network
is asked for. Times run from 0 (data) to 1000 (noise) for both.

A saved model keeps its law once, as the config of its diffusers scheduler: `Process.scheduler`
writes it, `process_from` reads it back.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mutoscope.errors import ModelError, RequestError
from mutoscope.types import Latents, Times

NOISIEST_TIME = 1000
"""The time of pure noise, in scheduler units."""

Betas = Literal["linear", "scaled_linear", "cosine"]
Prediction = Literal["epsilon", "v"]
Solver = Literal["ddim", "dpm++", "unipc"]

# Our name -> (diffusers' beta_schedule, beta_start, beta_end). The cosine law has no end points;
# diffusers' defaults stand there, so that one config compares equal to another.
_NAMED: dict[str, tuple[str, float, float]] = {
    "linear": ("linear", 1e-4, 0.02),
    "scaled_linear": ("scaled_linear", 0.00085, 0.012),
    "cosine": ("squaredcos_cap_v2", 1e-4, 0.02),
}
_PREDICTION_TYPES: dict[Prediction, str] = {"epsilon": "epsilon", "v": "v_prediction"}


@runtime_checkable
class Process(Protocol):
    """What noise does to data, and what a network that undoes it has to predict."""

    def add_noise(self, clean: Latents, noise: Latents, time: Times) -> Latents:
        """The noisy sample z_t at `time` (0 = data, 1000 = noise), one time per sample."""
        ...

    def target(self, clean: Latents, noise: Latents, time: Times) -> Latents:
        """What a perfect network would output for `add_noise(clean, noise, time)`."""
        ...

    def clean_from(self, prediction: Latents, noisy: Latents, time: Times) -> Latents:
        """The clean sample that a prediction claims; inverts `target`."""
        ...

    def weight(self, time: Times) -> Float[Tensor, " B"]:
        """The factor of each sample's squared error in the training loss."""
        ...

    def scheduler(self) -> SchedulerMixin:
        """A diffusers scheduler of the same law; others follow by their `from_config`."""
        ...


@dataclass(frozen=True)
class VariancePreserving:
    """Noise that keeps the variance of unit-variance data: alpha_t^2 + sigma_t^2 = 1.

    z_t = alpha_t x + sigma_t e, alpha_t^2 = prod_{s<=t} (1 - beta_s)  (LaVie, arXiv 2309.15103,
    Eq. 1). The network predicts e ("epsilon"), or v = alpha_t e - sigma_t x ("v"; Salimans & Ho,
    arXiv 2202.00512, §4 and App. D), with x = alpha_t z_t - sigma_t v.

    The law lives on 1000 steps, and whole times 0..999 index it exactly as diffusers does, so time
    0 is the least noisy step, not bare data. Between two steps alpha_t^2 is interpolated linearly;
    999 to 1000 is the noisiest step throughout. Train on whole times (`UniformTimes`).

    Attributes:
        betas: A named schedule or 1000 numbers in (0, 1]. "linear": 1e-4 to 0.02 (LaVie);
            "scaled_linear": 0.00085 to 0.012, linear in the square root (Stable Diffusion);
            "cosine": Nichol & Dhariwal, arXiv 2102.09672, Eq. 17.
        prediction: What the network outputs.
        min_snr: Gamma of Min-SNR loss weighting (5 in its paper), None for weight 1. Used in
            training only, so a scheduler does not carry it.

    Raises:
        RequestError: `betas` are not such numbers, or `min_snr` is not positive.
    """

    betas: Betas | tuple[float, ...] = "linear"
    prediction: Prediction = "epsilon"
    min_snr: float | None = None

    def __post_init__(self) -> None:
        if self.prediction not in _PREDICTION_TYPES:
            raise RequestError(
                f"prediction={self.prediction!r} is not known: a variance-preserving process "
                "predicts 'epsilon' or 'v'. Pass one of them."
            )
        if isinstance(self.betas, str):
            if self.betas not in _NAMED:
                raise RequestError(
                    f"betas={self.betas!r} is not a schedule: the named ones are "
                    f"{', '.join(get_args(Betas))}. Pass one of them, or 1000 numbers."
                )
        elif len(self.betas) != NOISIEST_TIME or not all(0 < beta <= 1 for beta in self.betas):
            raise RequestError(
                f"{len(self.betas)} betas from {min(self.betas, default=0)} to "
                f"{max(self.betas, default=0)} make no schedule: it takes {NOISIEST_TIME} numbers "
                "in (0, 1]. Pass those, or a named schedule."
            )
        if self.min_snr is not None and not self.min_snr > 0:
            raise RequestError(
                f"min_snr={self.min_snr} cannot weight a loss: gamma is positive. Use 5.0, or None."
            )

    def add_noise(self, clean: Latents, noise: Latents, time: Times) -> Latents:
        """z_t = alpha_t x + sigma_t e (LaVie, Eq. 1)."""
        alpha, sigma = self._alpha_sigma(clean, time)
        return alpha * clean + sigma * noise

    def target(self, clean: Latents, noise: Latents, time: Times) -> Latents:
        """e, or v = alpha_t e - sigma_t x (Salimans & Ho, §4)."""
        if self.prediction == "epsilon":
            return noise
        alpha, sigma = self._alpha_sigma(clean, time)
        return alpha * noise - sigma * clean

    def clean_from(self, prediction: Latents, noisy: Latents, time: Times) -> Latents:
        """x = (z_t - sigma_t e) / alpha_t, or alpha_t z_t - sigma_t v (Salimans & Ho, App. D)."""
        alpha, sigma = self._alpha_sigma(noisy, time)
        if self.prediction == "epsilon":
            return (noisy - sigma * prediction) / alpha
        return alpha * noisy - sigma * prediction

    def weight(self, time: Times) -> Float[Tensor, " B"]:
        """1, or Min-SNR (Hang et al., arXiv 2303.09556, §3.4) with SNR = alpha_t^2 / sigma_t^2.

        The paper weighs the error in x by min(SNR, gamma). An error in e is 1 / SNR, one in v
        1 / (SNR + 1) times that, hence min(SNR, gamma) / SNR and min(SNR, gamma) / (SNR + 1).
        """
        if self.min_snr is None:
            return torch.ones_like(time)
        power = self._signal_power(time)
        snr = power / (1 - power)
        if self.prediction == "epsilon":
            return (self.min_snr / snr).clamp(max=1)
        return snr.clamp(max=self.min_snr) / (snr + 1)

    def scheduler(
        self, solver: Solver = "ddim"
    ) -> DDIMScheduler | DPMSolverMultistepScheduler | UniPCMultistepScheduler:
        """A deterministic sampler from the noisiest step all the way to clean data.

        Spacing is "trailing": diffusers' default starts well below the noisiest step. Other
        solvers of the same law follow by `HeunDiscreteScheduler.from_config(x.config)` and so on.

        Args:
            solver: "ddim", without added noise (Song et al., arXiv 2010.02502, Eq. 12), whose grid
                in diffusers drifts where the steps do not divide 1000; or "dpm++", second order
                (Lu et al., arXiv 2211.01095), nearer at equal steps and right at any number; or
                "unipc", which corrects each step once the next is known (Zhao et al., arXiv
                2302.04867), at as many network calls.

        Returns:
            The scheduler, whose config holds the whole law.
        """
        named = isinstance(self.betas, str)
        schedule, start, end = _NAMED[self.betas if isinstance(self.betas, str) else "linear"]
        config = {
            "num_train_timesteps": NOISIEST_TIME,
            "beta_schedule": schedule,
            "beta_start": start,
            "beta_end": end,
            "trained_betas": None if named else list(self.betas),
            "prediction_type": _PREDICTION_TYPES[self.prediction],
            "timestep_spacing": "trailing",
        }
        if solver == "dpm++":
            return DPMSolverMultistepScheduler(**config)
        if solver == "unipc":
            return UniPCMultistepScheduler(**config)
        return DDIMScheduler(**config, clip_sample=False, set_alpha_to_one=True)

    def _alpha_sigma(self, like: Latents, time: Times) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t (B 1 1 1 1), in the precision and on the device of `like`."""
        power = rearrange(self._signal_power(time), "b -> b 1 1 1 1")
        # The root of 1 - alpha_t^2 is taken before any cast: in half precision it would lose it.
        return power.sqrt().to(like), (1 - power).sqrt().to(like)

    def _signal_power(self, time: Times) -> Float[Tensor, " B"]:
        """alpha_t^2 at any time, on the device of `time`."""
        table = _signal_power_table(self.betas).to(time.device)
        last = len(table) - 1
        step = time.clamp(0, last)
        below = step.floor().long()
        above = (below + 1).clamp(max=last)
        return torch.lerp(table[below], table[above], step - below)


@lru_cache
def _signal_power_table(betas: Betas | tuple[float, ...]) -> Tensor:
    """alpha_t^2 for t = 0..999, float32 on the CPU, in the order of operations of diffusers."""
    return torch.cumprod(1 - _beta_table(betas), dim=0)


def _beta_table(betas: Betas | tuple[float, ...]) -> Tensor:
    """beta_t for t = 0..999, float32."""
    if not isinstance(betas, str):
        return torch.tensor(betas, dtype=torch.float32)
    if betas == "cosine":
        # Nichol & Dhariwal, Eq. 17: alpha_t^2 ~ cos^2, each beta capped at 0.999.
        power = [
            math.cos((t / NOISIEST_TIME + 0.008) / 1.008 * math.pi / 2) ** 2
            for t in range(NOISIEST_TIME + 1)
        ]
        return torch.tensor([min(1 - b / a, 0.999) for a, b in pairwise(power)])
    _, start, end = _NAMED[betas]
    if betas == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, NOISIEST_TIME, dtype=torch.float32) ** 2
    return torch.linspace(start, end, NOISIEST_TIME, dtype=torch.float32)


@dataclass(frozen=True)
class RectifiedFlow:
    """A straight line from data to noise: z_t = (1 - s) x + s e with s = t / 1000.

    The network predicts the velocity dz/ds = e - x (Liu et al., arXiv 2209.03003, Eq. 1), so
    x = z_t - s v. STIV (arXiv 2412.07730) writes the same line with t = 0 at noise and velocity
    x - e; here and in every stored weight the sign is diffusers': noise - data.

    Attributes:
        shift: Where a sampler spends its steps: s becomes shift s / (1 + (shift - 1) s) on its
            grid (Esser et al., arXiv 2403.03206, Eq. 23; above 1 = more at high noise, for large
            frames). It moves the grid only: the noise at a given time is the same for any shift.

    Raises:
        RequestError: `shift` is not positive.
    """

    shift: float = 1.0

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise RequestError(
                f"shift={self.shift} makes no grid of times: a shift is positive. Use 1.0 for none."
            )

    def add_noise(self, clean: Latents, noise: Latents, time: Times) -> Latents:
        """z_t = (1 - s) x + s e (Liu et al., §2.1)."""
        share = self._noise_share(clean, time)
        return (1 - share) * clean + share * noise

    def target(self, clean: Latents, noise: Latents, time: Times) -> Latents:
        """v = e - x, the same at every time (Liu et al., Eq. 1)."""
        return noise - clean

    def clean_from(self, prediction: Latents, noisy: Latents, time: Times) -> Latents:
        """x = z_t - s v."""
        return noisy - self._noise_share(noisy, time) * prediction

    def weight(self, time: Times) -> Float[Tensor, " B"]:
        """1: emphasis comes from how times are drawn (`LogitNormalTimes`)."""
        return torch.ones_like(time)

    def scheduler(self) -> FlowMatchEulerDiscreteScheduler:
        """Euler steps along the line."""
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=NOISIEST_TIME, shift=self.shift)

    @staticmethod
    def _noise_share(like: Latents, time: Times) -> Tensor:
        """s (B 1 1 1 1), in the precision and on the device of `like`."""
        return rearrange(time / NOISIEST_TIME, "b -> b 1 1 1 1").to(like)


def process_from(scheduler: SchedulerMixin) -> VariancePreserving | RectifiedFlow:
    """Reads the noise law of a saved model from its scheduler.

    Args:
        scheduler: Any diffusers scheduler over 1000 steps that predicts noise, v or a flow's
            velocity; which solver it is does not matter.

    Returns:
        The process whose `add_noise` that scheduler undoes.

    Raises:
        ModelError: The scheduler's law is another one.
    """
    config = dict(scheduler.config)
    steps = config.get("num_train_timesteps")
    if steps != NOISIEST_TIME:
        raise ModelError(
            f"{type(scheduler).__name__} counts {steps} steps: Mutoscope's times run over "
            f"{NOISIEST_TIME}. Save the model with such a scheduler."
        )
    if "beta_schedule" not in config and "shift" in config:
        return RectifiedFlow(shift=float(config["shift"]))
    predictions = {theirs: ours for ours, theirs in _PREDICTION_TYPES.items()}
    prediction = predictions.get(config.get("prediction_type", ""))
    betas = getattr(scheduler, "betas", None)
    if prediction is None or betas is None:
        raise ModelError(
            f"{type(scheduler).__name__} with prediction_type={config.get('prediction_type')!r} "
            "has a noise law that Mutoscope does not know: it knows 'epsilon', 'v_prediction' and "
            "flow matching. Save the model with a scheduler of one of these."
        )
    for name in get_args(Betas):
        # Compared as numbers: a config may spell the same schedule in several ways.
        if torch.equal(_beta_table(name), betas.cpu()):
            return VariancePreserving(name, prediction)
    return VariancePreserving(tuple(betas.tolist()), prediction)
