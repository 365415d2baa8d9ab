"""Edges are found where they are, and flicker is change where the truth has none."""

import math

import pytest
import torch

from mutoscope.metrics.enlarged import edges, flicker


def step(*, contrast: float) -> torch.Tensor:
    """Dark left half, brighter right half; 1 3 2 8 16."""
    video = torch.zeros(1, 3, 2, 8, 16)
    video[..., 8:] = contrast
    return video - 0.5


def test_an_edge_is_what_lies_within_two_pixels_of_a_steep_one() -> None:
    found = edges(step(contrast=1.0))
    assert found.shape == (1, 2, 8, 16)
    # Both pixels beside the step are steep, and two more on either side lie near.
    assert found[0, 0, 4].nonzero().flatten().tolist() == list(range(5, 11))
    assert torch.equal(edges(step(contrast=1.0).transpose(-1, -2)), found.transpose(-1, -2))


def test_a_faint_step_is_no_edge_and_neither_is_the_border_of_the_frame() -> None:
    assert not edges(step(contrast=0.2)).any()
    assert not edges(torch.full((1, 3, 2, 8, 16), 0.9)).any()


def test_flicker_counts_still_pixels_only() -> None:
    truth = torch.zeros(2, 3, 3, 4, 4)
    truth[:, :, 1:, :2] = 0.5  # the upper half changes once, and stays from then on
    video = truth.clone()
    assert flicker(video, truth).tolist() == [0, 0]
    video[0, :, 1, :2] -= 2 / 255  # seen in the second of two pairs only
    video[1, :, 1, 2:] += 2 / 255  # seen in both
    still = 8 + 16
    expected = [8 / still, 2 * 8 / still]
    assert flicker(video, truth).tolist() == pytest.approx(expected, rel=1e-4)


def test_where_nothing_is_still_there_is_no_flicker() -> None:
    truth = torch.arange(3.0)[None, None, :, None, None].expand(1, 3, 3, 2, 2) / 10
    assert math.isnan(flicker(truth, truth).item())
