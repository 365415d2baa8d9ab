"""Full spatio-temporal attention against the formula, head by head."""

import pytest
import torch

from mutoscope.nn.clip_attention import ClipAttention
from mutoscope.nn.rope import rotary_angles, rotate
from mutoscope.nn.temporal import TemporalAttention

WIDTH, HEADS, FRAMES, PLACES = 8, 2, 4, 3


def layer(rotary_dim: int) -> ClipAttention:
    made = ClipAttention(WIDTH, num_heads=HEADS, rotary_dim=rotary_dim)
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return made.eval()


@pytest.mark.parametrize(("rotary_dim", "stride"), [(0, 1), (2, 1), (4, 3)])
@torch.no_grad()
def test_it_joins_all_places_of_all_frames_of_a_clip(rotary_dim: int, stride: int) -> None:
    module = layer(rotary_dim)
    tokens = torch.randn(2 * FRAMES, PLACES, WIDTH, generator=torch.Generator().manual_seed(0))
    numbers = torch.arange(FRAMES).repeat_interleave(PLACES)
    angles = rotary_angles(FRAMES, WIDTH // HEADS, rotary_dim=rotary_dim, stride=stride)[numbers]
    made = module(tokens, num_clips=2, stride=stride).unflatten(0, (2, FRAMES))
    for clip, sequence in enumerate(tokens.view(2, FRAMES * PLACES, WIDTH)):
        query, key = (
            rotate((sequence @ project.weight.T).view(1, -1, HEADS, WIDTH // HEADS), angles)[0]
            for project in (module.to_q, module.to_k)
        )
        value = (sequence @ module.to_v.weight.T).view(-1, HEADS, WIDTH // HEADS)
        scores = torch.einsum("nkc, mkc -> knm", query, key) / (WIDTH // HEADS) ** 0.5
        merged = torch.einsum("knm, mkc -> nkc", scores.softmax(-1), value).flatten(1)
        expected = merged @ module.to_out[0].weight.T + module.to_out[0].bias
        torch.testing.assert_close(
            made[clip], expected.view(FRAMES, PLACES, WIDTH), atol=1e-5, rtol=0
        )


def test_it_starts_as_nothing_and_has_the_weights_of_attention_over_time() -> None:
    module = ClipAttention(WIDTH, num_heads=HEADS, rotary_dim=4)
    assert not module(torch.ones(4, 3, WIDTH), num_clips=2).any()
    other = TemporalAttention(WIDTH, num_heads=HEADS, rotary_dim=4)
    assert module.state_dict().keys() == other.state_dict().keys()
