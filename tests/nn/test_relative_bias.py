"""Buckets of distances in time: near ones alone, far ones together, past and future apart."""

import pytest
import torch

from mutoscope.nn.relative_bias import RelativePositionBias, relative_buckets


def test_near_distances_have_buckets_of_their_own_and_far_ones_share() -> None:
    buckets = relative_buckets(40)
    past = buckets[39].flip(0).tolist()  # by distance, of keys before the last frame
    assert past[:8] == list(range(8))
    # 8 e^(k ln(4) / 8) for k = 1 to 7 is 9.5, 11.3, 13.5, 16, 19.03, 22.6 and 26.9.
    firsts = [past.index(bucket) for bucket in range(8, 16)]
    assert firsts == [8, 10, 12, 14, 16, 20, 23, 27]
    assert past[27:] == [15] * 13
    future = buckets[0].tolist()
    assert future[0] == 0
    assert future[1:] == [bucket + 16 for bucket in past[1:]]


@pytest.mark.parametrize("frames", [1, 2, 61])
def test_the_bias_depends_on_the_distance_only_and_differs_by_head(frames: int) -> None:
    bias = RelativePositionBias(3)
    assert not bias(frames).any()  # it starts without a preference
    torch.nn.init.normal_(bias.weight, generator=torch.Generator().manual_seed(0))
    table = bias(frames)
    assert table.shape == (3, frames, frames)
    assert torch.equal(table[:, 1:, 1:], table[:, :-1, :-1])
    assert torch.equal(table[:, 0, 0], bias.weight[0])
    if frames > 1:  # rows are queries: the frame after is in the second half of the buckets
        assert torch.equal(table[:, 0, 1], bias.weight[17])
        assert torch.equal(table[:, 1, 0], bias.weight[1])


def test_distances_between_frames_left_out_count_whole() -> None:
    bias = RelativePositionBias(2)
    torch.nn.init.normal_(bias.weight, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bias(8, 3), bias(22)[:, ::3, ::3])
