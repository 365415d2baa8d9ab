"""How the times of a training batch are drawn."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator

from mutoscope.errors import RequestError
from mutoscope.types import Times


@runtime_checkable
class TimeDraw(Protocol):
    """A distribution over noise times."""

    def draw(self, batch: int, generator: Generator) -> Times:
        """`batch` times in [0, 1000), on the generator's device."""
        ...


@dataclass(frozen=True)
class UniformTimes:
    """Every time equally often; with a shift s, noisy ones more often: u -> s u / (1 + (s - 1) u).

    From `lowest` on, that is; a model that sees no others cannot be sampled from.

    The frames of a clip show the same things again and again, so it takes more noise to hide what a
    clip shows than what one picture shows; most times tell a video model nothing new.

    Source: Esser et al., arXiv 2403.03206, §5.3.2, Eq. 23 (for resolution).

    Attributes:
        whole: True draws from 0, 1, ..., 999, the steps on which a variance-preserving law is
            defined (LaVie, arXiv 2309.15103, §3); False any real number in [0, 1000), for a flow.
        shift: s, positive; 1 is no shift.
        lowest: The least noisy time, in [0, 1000).

    Raises:
        RequestError: `shift` is not positive, or `lowest` is no time.
    """

    whole: bool = True
    shift: float = 1.0
    lowest: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.lowest < 1000:
            raise RequestError(
                f"lowest={self.lowest} is no time: times are in [0, 1000), 0 is data. Use e.g. 900."
            )
        if not self.shift > 0:
            raise RequestError(
                f"shift={self.shift} shifts no times: it is a positive number, and 1 is none. "
                "Use e.g. 2."
            )

    def draw(self, batch: int, generator: Generator) -> Times:
        """`batch` times, independent."""
        share = torch.rand(batch, generator=generator, device=generator.device)
        share = self.shift * share / (1 + (self.shift - 1) * share)
        if self.lowest:
            share = self.lowest / 1000 + (1 - self.lowest / 1000) * share
        return _time(share, whole=self.whole)


@dataclass(frozen=True)
class LogitNormalTimes:
    """Middle times more often: t = 1000 sigmoid(mean + std n), n standard normal.

    Source: Esser et al., arXiv 2403.03206, §3.1, Eq. 19; (0, 1) is their choice for flows.

    Attributes:
        mean: Above 0 favours noise, below 0 data.
        std: Spread, positive.
        whole: As in `UniformTimes`.

    Raises:
        RequestError: `std` is not positive.
    """

    mean: float = 0.0
    std: float = 1.0
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise RequestError(
                f"std={self.std} spreads no times: it is a positive number. Use 1.0."
            )

    def draw(self, batch: int, generator: Generator) -> Times:
        """`batch` times, independent."""
        normal = torch.randn(batch, generator=generator, device=generator.device)
        return _time(torch.sigmoid(self.mean + self.std * normal), whole=self.whole)


def _time(share: Times, *, whole: bool) -> Times:
    """Shares of the way from data to noise, [0, 1], as times in [0, 1000)."""
    # A sigmoid may round to 1.0, and 1000 is not below 1000: the last float before it stands in.
    time = (1000 * share).clamp(max=999.9999)
    return time.floor() if whole else time
