"""Linear probes: what can be read from frozen states by one matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Probe:
    """A multinomial logistic regression.

    Attributes:
        mean: Of the states it was fitted on (D,).
        scale: Their standard deviations (D,).
        matrix: One column per class (D, C).
        offset: One number per class (C,).
    """

    mean: Tensor
    scale: Tensor
    matrix: Tensor
    offset: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """The likeliest class of each state (N, D), as numbers (N,)."""
        return ((states - self.mean) / self.scale @ self.matrix + self.offset).argmax(dim=1)


def fit_probe(states: Tensor, truth: Tensor, *, ridge: float = 1e-3) -> Probe:
    """The probe that tells the classes of these states apart best.

    Args:
        states: (N, D).
        truth: Class numbers (N,).
        ridge: Weight of the squared norm of the matrix.
    """
    mean, scale = states.mean(dim=0), states.std(dim=0) + 1e-6
    states = (states - mean) / scale
    classes = int(truth.max()) + 1
    matrix = torch.zeros(states.shape[1], classes, requires_grad=True)
    offset = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([matrix, offset], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = functional.cross_entropy(states @ matrix + offset, truth)
        loss = loss + ridge * matrix.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    return Probe(mean, scale, matrix.detach(), offset.detach())


def linear_probe(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, ridge: float = 1e-3
) -> float:
    """Accuracy on `test` of a probe fitted on `train`.

    Args:
        train: States (N, D) and class numbers (N,).
        test: The same, of other samples.
        ridge: See `fit_probe`.

    Returns:
        Share of right classes, 0 to 1.
    """
    return float((fit_probe(*train, ridge=ridge)(test[0]) == test[1]).float().mean())
