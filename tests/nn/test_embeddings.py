"""The time embedding against diffusers' own."""

import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding

from mutoscope.nn.embeddings import TimeEmbedding, sinusoid


@pytest.mark.parametrize("width", [32, 64])
def test_sinusoid_is_that_of_stable_diffusion(width: int) -> None:
    time = torch.tensor([0.0, 0.5, 17.0, 999.0, 1000.0])
    expected = get_timestep_embedding(time, width, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(sinusoid(time, width), expected, atol=1e-6, rtol=0)


def test_embedding_has_the_precision_of_its_weights() -> None:
    embedding = TimeEmbedding(8, 16).to(torch.bfloat16)
    assert embedding(torch.tensor([999.0, 998.0])).dtype == torch.bfloat16
    # bfloat16 has no 999: had the time been rounded first, the two would coincide.
    assert not torch.equal(*sinusoid(torch.tensor([999.0, 998.0]), 8))
