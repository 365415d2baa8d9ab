"""Clips that keep their thing and move evenly score above those that do not."""

import numpy as np
import pytest
import torch

from mutoscope.errors import RequestError
from mutoscope.metrics.consistency import motion_smoothness, subject_consistency
from mutoscope.types import Video


def moving(places: list[float]) -> Video:
    """A soft bar at the given places of a line 64 pixels long."""
    grid = torch.arange(64.0)
    rows = torch.stack([torch.exp(-(((grid - place) / 4) ** 2)) for place in places])
    return (2 * rows - 1)[None, None, :, None, :].expand(1, 3, len(places), 4, 64)


def test_cosines_with_the_frame_before_and_the_first_are_averaged() -> None:
    angles = torch.tensor([[0.0, 60.0, 60.0], [0.0, 180.0, 0.0]]).deg2rad()
    features = 7 * torch.stack([angles.cos(), angles.sin()], dim=-1)
    # With the frame before 0.5 and 1, with the first 0.5 twice; opposite frames count as 0.
    torch.testing.assert_close(subject_consistency(features), torch.tensor([0.625, 0.25]))


def test_a_thing_that_changes_for_good_costs_more_than_one_frame_of_another() -> None:
    own, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    flicker = torch.stack([own, other, own, own, own, own, own, own])
    change = torch.stack([own, other, other, other, other, other, other, other])
    first, second = subject_consistency(torch.stack([flicker, change]))
    assert first > second


def test_even_motion_is_smoother_than_the_same_way_in_jerks() -> None:
    even = [8.0 + 1.5 * frame for frame in range(9)]
    jerks = [place + (2.0 if frame % 2 else 0.0) for frame, place in enumerate(even)]
    assert motion_smoothness(moving(even)) > motion_smoothness(moving(jerks)) + 0.01
    assert motion_smoothness(moving([8.0] * 5)).item() == 1


def test_only_frames_between_two_are_foretold() -> None:
    steps = torch.tensor([0.0, 0.5, 0.0, 0.0])[None, None, :, None, None]
    video = steps.expand(1, 3, 4, 2, 2)
    # Frame 1 lies between 0 and 2 and is off by 0.5 of a range of 2; frame 3 has no successor.
    np.testing.assert_allclose(motion_smoothness(video), [0.75])


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(RequestError, match="at least 2 frames"):
        subject_consistency(torch.zeros(1, 1, 8))
    with pytest.raises(RequestError, match="at least 3 frames"):
        motion_smoothness(torch.zeros(1, 3, 2, 4, 4))
