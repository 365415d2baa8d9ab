"""Guidance: which versions of a condition a network is asked for, and how its answers combine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from mutoscope.errors import RequestError
from mutoscope.types import Latents

ConditionT = TypeVar("ConditionT", bound="Droppable")


@runtime_checkable
class Droppable(Protocol):
    """All that guidance knows of a condition: parts of it can be left out by name."""

    def without(self: ConditionT, *names: str) -> ConditionT:
        """The condition as if the named parts had never been given."""
        ...


@runtime_checkable
class Guidance(Protocol):
    """A stateless rule with two halves; the loop asks the network once for all branches."""

    def branches(self, condition: ConditionT) -> list[ConditionT]:
        """The conditions to predict under, at least one."""
        ...

    def combine(self, predictions: Sequence[Latents], condition: Droppable, time: float) -> Latents:
        """One prediction from those of the branches, in their order.

        Args:
            predictions: One tensor per branch.
            condition: What `branches` was given.
            time: Of the step, in [0, 1000).
        """
        ...


@dataclass(frozen=True)
class Unguided:
    """The network's own answer."""

    def branches(self, condition: ConditionT) -> list[ConditionT]:
        """The condition as it is."""
        return [condition]

    def combine(self, predictions: Sequence[Latents], condition: Droppable, time: float) -> Latents:
        """The only prediction."""
        (prediction,) = predictions
        return prediction


@dataclass(frozen=True)
class TextGuidance:
    """Classifier-free guidance on the text: u + scale (c - u), u under the negative prompt.

    It may lead further at first, in much noise, where it is decided what moves how: there w is
    `early` times as large. What it costs in shapes is decided later.

    Source: Ho & Salimans, arXiv 2207.12598, Eq. 6, with scale = 1 + w; LaVie's 7.5 is this scale.
    A scale that depends on the noise: Kynkäänniemi et al., arXiv 2404.07724, §3.

    Attributes:
        scale: 0 or more. 1 is no guidance, and costs one branch; all else costs two.
        early: How many times as far it leads from `early_until` on; 0 or more, 1 is no further.
        early_until: The least noisy time of these, in [0, 1000).

    Raises:
        RequestError: `scale` or `early` is negative or not a number, or `early_until` no time.
    """

    scale: float
    early: float = 1.0
    early_until: float = 900.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.early) and self.early >= 0):
            raise RequestError(
                f"guidance cannot lead {self.early} times as far at first: that is a number from 0 "
                "up, and 1 is as far as later. Use e.g. 2."
            )
        if not 0 <= self.early_until < 1000:
            raise RequestError(
                f"guidance cannot lead further from time {self.early_until} on: times are in "
                "[0, 1000), 1000 is noise. Use e.g. 900."
            )
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise RequestError(
                f"guidance scale {self.scale} cannot be used: it is a number from 0 up, and 1 is "
                "no guidance. Use e.g. 7.5."
            )

    def branches(self, condition: ConditionT) -> list[ConditionT]:
        """With text, and without it unless the scale is 1."""
        return [condition] if self.scale == 1 else [condition, condition.without("text")]

    def combine(self, predictions: Sequence[Latents], condition: Droppable, time: float) -> Latents:
        """u + scale (c - u)."""
        if self.scale == 1:
            (prediction,) = predictions
            return prediction
        scale = self.scale
        if time >= self.early_until:
            scale = 1 + self.early * (scale - 1)
        with_text, without_text = predictions
        return without_text + scale * (with_text - without_text)
