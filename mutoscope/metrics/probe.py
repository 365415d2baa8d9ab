"""Linear probes: what can be read from frozen states by one matrix."""

import torch
from torch import Tensor
from torch.nn import functional


def linear_probe(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, ridge: float = 1e-3
) -> float:
    """Accuracy on `test` of a multinomial logistic regression fitted on `train`.

    Args:
        train: States (N, D) and class numbers (N,).
        test: The same, of other samples.
        ridge: Weight of the squared norm of the matrix.

    Returns:
        Share of right classes, 0 to 1.
    """
    states, truth = train
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
    with torch.no_grad():
        found = ((test[0] - mean) / scale @ matrix + offset).argmax(dim=1)
    return float((found == test[1]).float().mean())
