"""What moves the weights: AdamW, Muon, and how their step size rises, stays and falls."""

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mutoscope.errors import RequestError
from mutoscope.training.fields import WITHOUT_SAYING
from mutoscope.training.precision import has_fast_bf16

TIMES = "times"
"""Of a group of parameters: how many times as large its steps are."""


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """AdamW that shrinks matrices only.

    Biases, norm scales and other vectors get no weight decay: pulling a scale towards zero does
    not regularise what the network computes.

    Attributes:
        lr: Peak step size, above 0; the schedule scales it.
        betas: Decay of the first and second moment, each in [0, 1).
        weight_decay: Per unit of step size, for parameters of two or more axes.
        clip: Largest norm of the whole gradient, above 0.
        words: How many times as large the steps of new words' embeddings are, above 0.

    Source: AdamW (arXiv 1711.05101) Algorithm 2.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip: float = 1.0
    words: float = field(default=1.0, metadata=WITHOUT_SAYING)

    def __post_init__(self) -> None:
        if not (self.lr > 0 and self.clip > 0 and self.words > 0 and self.weight_decay >= 0):
            raise RequestError(
                f"AdamW(lr={self.lr}, weight_decay={self.weight_decay}, clip={self.clip}, "
                f"words={self.words}) cannot train: lr, clip and words are above 0, weight_decay "
                "is not negative. Change these."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RequestError(
                f"betas={self.betas} cannot be used: each lies in [0, 1). Use e.g. (0.9, 0.99)."
            )

    def build(self, parameters: Mapping[str, nn.Parameter]) -> tuple[torch.optim.Optimizer, ...]:
        """The optimizer over these parameters, all on one device."""
        words = [each for name, each in parameters.items() if "trainable_tokens" in name]
        others = [each for name, each in parameters.items() if "trainable_tokens" not in name]
        matrices = [parameter for parameter in others if parameter.ndim >= 2]
        vectors = [parameter for parameter in others if parameter.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
            {"params": words, "weight_decay": 0.0, TIMES: self.words},
        ]
        # One pass over memory instead of eight; measured fastest on the CPU and on CUDA alike.
        fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters.values())
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=self.lr,
            betas=self.betas,
            fused=fused,
        )
        return (optimizer,)


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Muon for the weights of layers, AdamW for all else (biases, norms, embeddings).

    A layer's step is its averaged gradient with all singular values made about equal, so rare
    directions are learned as fast as common ones. Steps are scaled to the size that AdamW's have,
    so one `lr` and its schedule serve both. A convolution counts as the matrix of its output
    channels by everything else; so do the first and the last layer, as they need no embedding here.

    Attributes:
        lr: Peak step size, above 0; the schedule scales it.
        momentum: Decay of the averaged gradient, in [0, 1); Nesterov's form.
        weight_decay: Per unit of step size, for parameters of two or more axes.
        clip: Largest norm of the whole gradient, above 0.

    Source: Jordan et al., "Muon" (2024); scale: Liu et al., arXiv 2502.16982, Eq. 4. torch's own
    `torch.optim.Muon` takes no convolutions.
    """

    lr: float
    momentum: float = 0.95
    weight_decay: float = 0.01
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise RequestError(
                f"momentum={self.momentum} cannot be used: it lies in [0, 1). Use e.g. 0.95."
            )
        self._others()

    def build(self, parameters: Mapping[str, nn.Parameter]) -> tuple[torch.optim.Optimizer, ...]:
        """The optimizers over these parameters, all on one device."""
        layers = {name: each for name, each in parameters.items() if _is_layer(name, each)}
        others = {name: each for name, each in parameters.items() if name not in layers}
        built: tuple[torch.optim.Optimizer, ...] = ()
        if layers:
            built += (
                MatrixMomentum(
                    layers.values(),
                    lr=self.lr,
                    momentum=self.momentum,
                    weight_decay=self.weight_decay,
                ),
            )
        return built + self._others().build(others) if others else built

    def _others(self) -> AdamW:
        return AdamW(lr=self.lr, weight_decay=self.weight_decay, clip=self.clip)


def _is_layer(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and "embed" not in name and min(_matrix(parameter).shape) > 1


def _matrix(tensor: Tensor) -> Tensor:
    return tensor.reshape(len(tensor), -1)


class MatrixMomentum(torch.optim.Optimizer):
    """The steps of `Muon` for weights of two or more axes; see there."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        super().__init__(
            list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients; parameters without one stay as they are."""
        for group in self.param_groups:
            momentum = group["momentum"]
            alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "average" not in state:
                    state["average"] = torch.zeros_like(parameter)
                state["average"].lerp_(parameter.grad, 1 - momentum)
                ahead = _matrix(parameter.grad.lerp(state["average"], momentum))
                alike.setdefault(ahead.shape, []).append((parameter, ahead))

            def move(
                members: list[tuple[nn.Parameter, Tensor]],
                lr: float = group["lr"],
                shrink: float = group["lr"] * group["weight_decay"],
            ) -> None:
                with torch.no_grad():
                    steps = orthogonal(torch.stack([ahead for _, ahead in members]))
                    scale = 0.2 * math.sqrt(max(steps.shape[1:]))
                    for (parameter, _), step in zip(members, steps, strict=True):
                        parameter.mul_(1 - shrink)
                        parameter.add_(step.reshape(parameter.shape), alpha=-lr * scale)

            # Matrices of one shape go together, in fewer and larger products; two shapes side by
            # side, since products this small do not fill two cores. Largest first.
            batches = sorted(alike.values(), key=lambda each: -sum(a.numel() for _, a in each))
            with ThreadPoolExecutor(2, thread_name_prefix="muon") as pool:
                list(pool.map(move, batches))


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with all singular values between about 0.7 and 1.2.

    Five steps of a Newton-Schulz iteration, in bf16 where the device is good at it; the
    coefficients are those of the source, for speed instead of convergence. A matrix of zeros stays
    zero.

    Source: Jordan et al., "Muon" (2024).
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    work = matrices if wide else matrices.mT
    norm = work.norm(dim=(-2, -1), keepdim=True)
    work = work / norm.clamp(min=1e-20)
    if has_fast_bf16(work.device):
        work = work.to(torch.bfloat16)
    for _ in range(5):
        square = work @ work.mT
        work = 3.4445 * work + (-4.7750 * square + 2.0315 * square @ square) @ work
    even: Tensor = (work if wide else work.mT).to(matrices.dtype)
    return even


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the step size changes over a run: up in a line, level, and down to zero at the end.

    Attributes:
        warmup: Steps over which it rises to its peak, 0 or more.
        decay: The last share of the run over which it falls to zero, in [0, 1]; 1 is the whole run.
        shape: How it falls.
    """

    warmup: int = 0
    decay: float = 0.0
    shape: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        if self.warmup < 0 or not 0 <= self.decay <= 1 or self.shape not in ("linear", "cosine"):
            raise RequestError(
                f"{self} cannot be followed: warmup is 0 or more steps, decay a share of the run "
                "in [0, 1], shape 'linear' or 'cosine'. Change these."
            )

    def factor(self, step: int, progress: float) -> float:
        """The share of the peak step size for the step that comes after `step` finished ones.

        Args:
            step: Steps done so far, 0 or more.
            progress: Share of the run that lies behind, in [0, 1].

        Returns:
            A number in [0, 1].
        """
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if self.decay == 0 or progress <= 1 - self.decay:
            return rise
        fallen = min(1.0, (progress - (1 - self.decay)) / self.decay)
        if self.shape == "linear":
            return rise * (1 - fallen)
        return rise * 0.5 * (1 + math.cos(math.pi * fallen))
