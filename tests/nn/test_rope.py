"""Rotary positions against the complex-number form, and what they promise about time."""

import cmath

import pytest
import torch

from mutoscope.nn.rope import rotary_angles, rotate


def complex_form(states: torch.Tensor, rotary_dim: int) -> torch.Tensor:
    """Each pair as one Python complex number times e^(i f theta), straight from the paper."""
    result = states.clone()
    for frame in range(states.shape[1]):
        for pair in range(rotary_dim // 2):
            turn = cmath.exp(1j * frame * 10_000 ** (-2 * pair / rotary_dim))
            for batch in range(states.shape[0]):
                for head in range(states.shape[2]):
                    even, odd = states[batch, frame, head, 2 * pair : 2 * pair + 2].tolist()
                    value = complex(even, odd) * turn
                    result[batch, frame, head, 2 * pair] = value.real
                    result[batch, frame, head, 2 * pair + 1] = value.imag
    return result


@pytest.mark.parametrize("rotary_dim", [2, 6, 8])
def test_rotation_is_the_complex_form(rotary_dim: int) -> None:
    states = torch.randn(2, 5, 3, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(states, rotary_angles(5, 8, rotary_dim=rotary_dim))
    torch.testing.assert_close(turned, complex_form(states, rotary_dim), atol=1e-6, rtol=0)
    assert torch.equal(turned[..., rotary_dim:], states[..., rotary_dim:])
    assert torch.equal(turned[:, 0], states[:, 0])


def test_scores_depend_on_the_distance_between_frames_only() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 16, generator=generator)
    angles = rotary_angles(200, 16, rotary_dim=12)
    queries = rotate(query.expand(1, 200, 1, 16), angles)[0, :, 0]
    keys = rotate(key.expand(1, 200, 1, 16), angles)[0, :, 0]
    scores = queries @ keys.T
    torch.testing.assert_close(scores[:150, :150], scores[50:, 50:], atol=2e-5, rtol=0)
    assert scores.std() > 0.1


def test_any_number_of_frames_continues_the_same_angles() -> None:
    assert torch.equal(rotary_angles(61, 8, rotary_dim=8)[:16], rotary_angles(16, 8, rotary_dim=8))


def test_frames_left_out_leave_the_others_where_they_were() -> None:
    whole = rotary_angles(16, 8, rotary_dim=6)
    assert torch.equal(rotary_angles(8, 8, rotary_dim=6, stride=2), whole[::2])
    assert torch.equal(rotary_angles(4, 8, rotary_dim=6, stride=5), whole[::5])


def test_half_precision_states_are_turned_in_single_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1, 61, 2, 8, generator=generator).to(torch.bfloat16)
    angles = rotary_angles(61, 8, rotary_dim=8)
    assert angles.dtype == torch.float32
    assert torch.equal(rotate(states, angles), rotate(states.float(), angles).to(torch.bfloat16))
