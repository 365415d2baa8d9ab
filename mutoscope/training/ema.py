"""Averaged weights: a running mean of the trained ones, which samples better than the last."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mutoscope.errors import RequestError


class Average:
    """An exponential moving average of parameters, with a warm-up.

    After update t (from 0) the average keeps min(decay, (1 + t) / (10 + t)) of itself, so that the
    first, random weights are soon forgotten whatever the decay.

    Args:
        parameters: The trained parameters by name; the average starts as a copy of them.
        decay: Share of the average kept at each update, in [0, 1); 0 is the parameters themselves.

    Raises:
        RequestError: `decay` lies outside its range.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, decay: float) -> None:
        if not 0 <= decay < 1:
            raise RequestError(
                f"ema={decay} cannot be averaged with: it is a share in [0, 1). Use e.g. 0.999, "
                "or 0 for no averaging."
            )
        self.parameters = dict(parameters)
        self.decay = decay
        self.updates = 0
        self.weights: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in self.parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the parameters as they are now."""
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = [parameter.detach() for parameter in self.parameters.values()]
        torch._foreach_lerp_(list(self.weights.values()), current, 1 - keep)
        self.updates += 1

    @contextmanager
    def in_place(self, modules: Mapping[str, nn.Module]) -> Iterator[Mapping[str, nn.Module]]:
        """Lends the modules the averaged weights, in evaluation mode, and takes them back.

        The same module objects are used, so whatever holds a reference to them (a stage, a codec)
        sees the averaged weights too. The trained weights return bit for bit.
        """
        trained = {name: value.detach().clone() for name, value in self.parameters.items()}
        modes = {part: part.training for module in modules.values() for part in module.modules()}
        try:
            self._put(self.weights)
            for module in modules.values():
                module.eval()
            yield modules
        finally:
            self._put(trained)
            for part, mode in modes.items():
                part.training = mode

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])
