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

    def at(self, time: float) -> "Guidance":
        """The rule for a noise time, in scheduler units (0 data, 1000 noise)."""
        ...

    def branches(self, condition: ConditionT) -> list[ConditionT]:
        """The conditions to predict under, at least one."""
        ...

    def combine(self, predictions: Sequence[Latents], condition: Droppable) -> Latents:
        """One prediction from those of the branches, in their order.

        Args:
            predictions: One tensor per branch.
            condition: What `branches` was given.
        """
        ...


@dataclass(frozen=True)
class Unguided:
    """The network's own answer."""

    def at(self, time: float) -> "Unguided":
        """The same at every time."""
        return self

    def branches(self, condition: ConditionT) -> list[ConditionT]:
        """The condition as it is."""
        return [condition]

    def combine(self, predictions: Sequence[Latents], condition: Droppable) -> Latents:
        """The only prediction."""
        (prediction,) = predictions
        return prediction


@dataclass(frozen=True)
class TextGuidance:
    """Classifier-free guidance on the text: u + scale (c - u), u under the negative prompt.

    Source: Ho & Salimans, arXiv 2207.12598, Eq. 6, with scale = 1 + w; LaVie's 7.5 is this scale.

    Attributes:
        scale: 0 or more. 1 is no guidance, and costs one branch; all else costs two.

    Raises:
        RequestError: `scale` is negative or not a number.
    """

    scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise RequestError(
                f"guidance scale {self.scale} cannot be used: it is a number from 0 up, and 1 is "
                "no guidance. Use e.g. 7.5."
            )

    def at(self, time: float) -> "TextGuidance":
        """The same at every time."""
        return self

    def branches(self, condition: ConditionT) -> list[ConditionT]:
        """With text, and without it unless the scale is 1."""
        return [condition] if self.scale == 1 else [condition, condition.without("text")]

    def combine(self, predictions: Sequence[Latents], condition: Droppable) -> Latents:
        """u + scale (c - u)."""
        if self.scale == 1:
            (prediction,) = predictions
            return prediction
        with_text, without_text = predictions
        return without_text + self.scale * (with_text - without_text)


@dataclass(frozen=True)
class SkipGuidance:
    """Guidance on the text, and away from what the network says with its layers over time skipped.

    Without these each frame is a picture of its own, so the difference is all that frames have
    agreed on and all that the text says of motion: g + scale (c - s), g of `text`, c with text and
    s with text but frame by frame. In little noise it would sharpen what is already decided.

    Source: Hyung et al., arXiv 2411.18664, Eq. 8 (spatiotemporal skip guidance, residual skip), for
    the joint image-video network of LaVie, in which all time layers can be skipped; only in much
    noise, as Kynkäänniemi et al., arXiv 2404.07724, do with guidance on text.

    Attributes:
        text: The guidance on the text.
        scale: Above 0; costs one branch more.
        lowest_time: The least noisy time at which it leads, in [0, 1000]; below there is only
            `text`.

    Raises:
        RequestError: `scale` is not positive, or `lowest_time` is no time.
    """

    text: TextGuidance
    scale: float
    lowest_time: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0 and 0 <= self.lowest_time <= 1000):
            raise RequestError(
                f"skip guidance of scale {self.scale} from time {self.lowest_time} on cannot be "
                "used: the scale is above 0 and the time from 0 (data) to 1000 (noise). Use e.g. 2 "
                "and 500, or no such guidance."
            )

    def at(self, time: float) -> "SkipGuidance | TextGuidance":
        """Itself in much noise, else the guidance on the text alone."""
        return self if time >= self.lowest_time else self.text

    def branches(self, condition: ConditionT) -> list[ConditionT]:
        """Those of the text, and one without time."""
        return [*self.text.branches(condition), condition.without("time")]

    def combine(self, predictions: Sequence[Latents], condition: Droppable) -> Latents:
        """g + scale (c - s)."""
        *others, skipped = predictions
        return self.text.combine(others, condition) + self.scale * (others[0] - skipped)
