"""A simpler source first, harder batches mixed in gradually: a curriculum."""

from collections.abc import Callable
from dataclasses import dataclass

from mutoscope.errors import RequestError
from mutoscope.types import Batch


@dataclass(frozen=True, kw_only=True)
class GradualBatches:
    """Batches of a simple source, ever more of which a harder source's take the place of.

    The share of hard batches is 0 up to batch `begin`, rises evenly, and is 1 from batch `end` on.
    Hard batches are spread as evenly as that share allows, and each source is numbered without
    gaps, so batch `i` is a function of `i` alone and nothing is drawn.

    Attributes:
        simple: Batches to begin with.
        hard: Batches to end with.
        begin: Number of the batch up to which all are simple.
        end: Number of the batch from which on all are hard, not before `begin`.

    Raises:
        RequestError: `end` lies before `begin`, or `begin` before 0.
    """

    simple: Callable[[int], Batch]
    hard: Callable[[int], Batch]
    begin: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.begin <= self.end:
            raise RequestError(
                f"batches cannot become harder from {self.begin} to {self.end}: the first is 0 or "
                "more and the second no less. Give them in that order."
            )

    def __call__(self, number: int) -> Batch:
        before = self.hard_before(number)
        if self.hard_before(number + 1) > before:
            return self.hard(before)
        return self.simple(number - before)

    def share(self, number: int) -> float:
        """The share of hard batches around batch `number`, 0 to 1."""
        if number >= self.end:
            return 1.0
        return max(0, number - self.begin) / max(1, self.end - self.begin)

    def hard_before(self, number: int) -> int:
        """How many of the batches before `number` are hard: the share's integral, rounded down."""
        rise = self.end - self.begin
        if number < self.end:
            return max(0, number - self.begin) ** 2 // (2 * max(1, rise))
        return (rise + 2 * (number - self.end)) // 2
