"""Tiles: one call of a network becomes several on parts of the frame, blended at every step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mutoscope.errors import RequestError
from mutoscope.types import Latents, Times

CroppableT = TypeVar("CroppableT", bound="Croppable")


@runtime_checkable
class Croppable(Protocol):
    """All that tiling knows of a condition: what it says of a part of the frame."""

    def crop(self: CroppableT, rows: slice, columns: slice) -> CroppableT:
        """The condition for those latent cells alone."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How frames that are larger than a network was trained on, or than memory, are cut.

    Neighbours share `overlap` cells, over which the weight of one rises in a line as the other's
    falls. Predictions are blended at every step, so tiles agree on what they share long before the
    picture is finished, and no seam is left (MultiDiffusion, arXiv 2302.08113, Eq. 5).

    Attributes:
        height, width: Of a tile, in latent cells; larger than a frame means the whole of it.
        overlap: Cells that neighbours share, less than half of either side.

    Raises:
        RequestError: They make no tiling.
    """

    height: int
    width: int
    overlap: int

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.overlap < min(self.height, self.width):
            raise RequestError(
                f"tiles of {self.height}x{self.width} cells with an overlap of {self.overlap} make "
                "no tiling: the overlap is less than half of either side. Use e.g. a quarter."
            )

    def over(
        self, predict: Callable[[Latents, Times, CroppableT], Latents]
    ) -> Callable[[Latents, Times, CroppableT], Latents]:
        """A prediction of whole frames from `predict` of tiles, one tile in memory at a time."""

        def tiled(noisy: Latents, time: Times, condition: CroppableT) -> Latents:
            rows = spans(noisy.shape[-2], self.height, self.overlap)
            columns = spans(noisy.shape[-1], self.width, self.overlap)
            if len(rows) == len(columns) == 1:
                return predict(noisy, time, condition)
            total: Tensor | None = None
            for row, down in zip(rows, _weights(rows, noisy.device), strict=True):
                for column, across in zip(columns, _weights(columns, noisy.device), strict=True):
                    tile = predict(noisy[..., row, column], time, condition.crop(row, column))
                    if total is None:
                        total = tile.new_zeros((*tile.shape[:-2], *noisy.shape[-2:])).float()
                    total[..., row, column] += down[:, None] * across * tile
            assert total is not None
            return total.to(noisy.dtype)

        return tiled


def spans(length: int, size: int, overlap: int) -> list[slice]:
    """The fewest stretches of `size` that cover `length`, neighbours sharing `overlap` or more.

    They lie as evenly as whole numbers allow, so no tile at the edge is narrow.
    """
    if size >= length:
        return [slice(0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = [round(i * (length - size) / (count - 1)) for i in range(count)]
    return [slice(start, start + size) for start in starts]


def _weights(parts: Sequence[slice], device: torch.device) -> list[Float[Tensor, " size"]]:
    """What each stretch counts at each of its places; at every place they add up to 1."""
    weights = [torch.ones(part.stop - part.start, device=device) for part in parts]
    for number, (one, two) in enumerate(pairwise(parts)):
        shared = one.stop - two.start
        rise = torch.arange(1, shared + 1, device=device) / (shared + 1)
        # A short stretch may share places with both neighbours, but no place is shared by three.
        weights[number][len(weights[number]) - shared :] *= 1 - rise
        weights[number + 1][:shared] *= rise
    return weights
