"""Reuse: what a network computed deep down at one step serves the steps after it too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from mutoscope.errors import RequestError
from mutoscope.types import Latents, Times

ToldT = TypeVar("ToldT")
PredictFrom = Callable[[Latents, Times, ToldT, Tensor | None, int], tuple[Latents, Tensor]]
"""`predict(noisy, time, condition, deep, layers)`: a prediction, and what lies below the `layers`
uppermost layers. Given as `deep`, it is taken as it is, and only the layers above it are computed.
"""


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """How often a U-Net is computed whole, and how much of it in the steps between.

    Deep features change slowly from step to step: they say what is shown and where, and the finest
    layers draw it. It costs quality, so how much is measured (`python -m benchmarks.reuse`).

    Attributes:
        interval: Every so many steps all is computed, the first among them; at least 2.
        layers: Of the finest level on the way up, how many layers are computed anew in the other
            steps, at least 1, with one less on the way down.

    Raises:
        RequestError: Nothing would be reused.

    Source: DeepCache (arXiv 2312.00858) §3.2 and §3.3, with uniform intervals; its 1:N is an
        `interval` of N, its branch b is b + 1 `layers`. In a video U-Net a layer has its attention
        over time with it.
    """

    interval: int
    layers: int

    def __post_init__(self) -> None:
        if self.interval < 2 or self.layers < 1:
            raise RequestError(
                f"an interval of {self.interval} with {self.layers} layers computed anew is no "
                "reuse: every second step or fewer is whole, and one layer or more is always new. "
                "Use e.g. an interval of 2 with 1 layer."
            )

    def over(self, predict: "PredictFrom[ToldT]") -> Callable[[Latents, Times, ToldT], Latents]:
        """A prediction that reuses what `predict` found; good for one sampling.

        In each step it is to be called for the same things in the same order (branches of guidance,
        tiles), as `denoise` and `Tiles` do: each has features of its own, all in memory.

        Args:
            predict: The network; see `PredictFrom`.
        """
        kept: dict[int, Tensor] = {}
        now: float | None = None
        step, call = -1, 0

        def reusing(noisy: Latents, time: Times, condition: ToldT) -> Latents:
            nonlocal now, step, call
            if float(time[0]) != now:
                now, step, call = float(time[0]), step + 1, 0
            if step % self.interval == 0:
                kept.pop(call, None)
            prediction, kept[call] = predict(noisy, time, condition, kept.get(call), self.layers)
            call += 1
            return prediction

        return reusing
