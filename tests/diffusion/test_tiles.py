"""Tiles cover the frame, blend to what a whole frame gives, and leave no seam."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mutoscope.diffusion.tiles import Tiles, spans
from mutoscope.errors import RequestError


@dataclass(frozen=True)
class Place:
    """A condition that knows where it lies: cell numbers, cut as a frame is cut."""

    cells: Tensor

    def crop(self, rows: slice, columns: slice) -> "Place":
        return Place(self.cells[..., rows, columns])


def frame(height: int = 20, width: int = 32) -> tuple[Tensor, Tensor, Place]:
    noisy = torch.randn(1, 2, 3, height, width, generator=torch.Generator().manual_seed(0))
    cells = torch.arange(height * width, dtype=torch.float32).reshape(height, width)
    return noisy, torch.zeros(1), Place(cells)


@pytest.mark.parametrize("length", [5, 8, 9, 13, 20, 32, 61])
@pytest.mark.parametrize(("size", "overlap"), [(8, 0), (8, 2), (8, 3), (13, 6)])
def test_spans_cover_every_place_and_share_what_they_must(
    length: int, size: int, overlap: int
) -> None:
    found = spans(length, size, overlap)
    covered = {place for span in found for place in range(span.start, span.stop)}
    assert covered == set(range(length))
    assert all(span.stop - span.start == min(size, length) for span in found)
    shared = [one.stop - two.start for one, two in pairwise(found)]
    assert all(overlap <= each < size for each in shared)
    # No place belongs to three.
    assert all(two.start >= one.stop for one, two in zip(found, found[2:], strict=False))
    # One fewer would not reach.
    assert len(found) == 1 or (len(found) - 1) * (size - overlap) + overlap < length


@pytest.mark.parametrize("overlap", [0, 2, 3])
def test_a_network_that_sees_single_cells_gives_the_same_in_tiles(overlap: int) -> None:
    noisy, time, place = frame()

    def predict(latents: Tensor, _: Tensor, told: Place) -> Tensor:
        return latents.square() + told.cells

    tiled = Tiles(height=8, width=9, overlap=overlap).over(predict)(noisy, time, place)
    torch.testing.assert_close(tiled, predict(noisy, time, place))


def test_a_frame_that_fits_is_not_cut() -> None:
    noisy, time, place = frame(8, 8)
    shapes = []

    def predict(latents: Tensor, _: Tensor, told: Place) -> Tensor:
        shapes.append(latents.shape)
        return latents

    assert torch.equal(Tiles(height=8, width=9, overlap=2).over(predict)(noisy, time, place), noisy)
    assert shapes == [noisy.shape]


@pytest.mark.parametrize(("overlap", "seamless"), [(5, True), (0, False)])
def test_tiles_that_disagree_leave_a_seam_only_without_overlap(
    overlap: int, seamless: bool
) -> None:
    """Each tile answers with a brightness of its own, 1 apart from its neighbour's."""
    noisy, time, place = frame(8, 48)
    answers = iter(range(100))

    def predict(latents: Tensor, _: Tensor, told: Place) -> Tensor:
        return torch.full_like(latents, float(next(answers)))

    tiled = Tiles(height=12, width=12, overlap=overlap).over(predict)(noisy, time, place)
    steps = tiled.diff(dim=-1).abs()
    assert (float(steps.max()) < 0.3) == seamless
    assert float(tiled.amax() - tiled.amin()) >= 3


@pytest.mark.parametrize(("size", "overlap"), [(8, 4), (8, -1), (1, 1), (0, 0)])
def test_refuses_what_makes_no_tiling(size: int, overlap: int) -> None:
    with pytest.raises(RequestError, match="the overlap is less than half of either side"):
        Tiles(height=size, width=16, overlap=overlap)
