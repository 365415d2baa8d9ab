"""Absolute positions: which frame gets which vector, and what a table has no row for."""

import pytest
import torch

from mutoscope.errors import RequestError
from mutoscope.nn.absolute import LONGEST, LearnedPositions, SinusoidalPositions, positions
from mutoscope.nn.embeddings import sinusoid
from mutoscope.nn.temporal import TemporalAttention, is_temporal

WIDTH = 8


@pytest.mark.parametrize(("stride", "first"), [(1, 0), (3, 2)])
@torch.no_grad()
def test_each_frame_of_each_clip_gets_the_vector_of_its_number(stride: int, first: int) -> None:
    tokens = torch.randn(2 * 4, 3, WIDTH, generator=torch.Generator().manual_seed(0))
    numbers = first + stride * torch.arange(4)
    learned = LearnedPositions(WIDTH)
    for layer, table in (
        (learned, learned.embedding[numbers]),
        (SinusoidalPositions(), sinusoid(numbers.float(), WIDTH)),
    ):
        added = layer(tokens, num_clips=2, stride=stride, first=first) - tokens
        expected = table[None, :, None].expand(2, 4, 3, WIDTH).flatten(0, 1)
        torch.testing.assert_close(added, expected, atol=1e-5, rtol=0)


def test_a_table_has_an_end_and_says_so() -> None:
    layer = LearnedPositions(WIDTH)
    assert layer(torch.zeros(LONGEST, 1, WIDTH), num_clips=1).shape == (LONGEST, 1, WIDTH)
    with pytest.raises(
        RequestError, match=rf"frame {LONGEST} has no place in a table of {LONGEST}"
    ):
        layer(torch.zeros(LONGEST + 1, 1, WIDTH), num_clips=1)


def test_none_is_no_layer_and_learned_ones_belong_to_time() -> None:
    assert positions("none", WIDTH) is None
    plain = TemporalAttention(WIDTH, num_heads=2, rotary_dim=4).state_dict()
    learned = TemporalAttention(WIDTH, num_heads=2, rotary_dim=0, absolute_positions="learned")
    (new,) = learned.state_dict().keys() - plain.keys()
    assert is_temporal(f"down_blocks.0.attn_temp.{new}")
    causal = TemporalAttention(WIDTH, num_heads=2, rotary_dim=4, causal=True)
    assert causal.state_dict().keys() == plain.keys()
