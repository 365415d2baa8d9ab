"""Pairs: latents of a large video beside what the cascade would have to enlarge."""

import pytest
import torch
from diffusers import AutoencoderKL

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.pairs import Pairs, shrunk, unpaired
from mutoscope.errors import RequestError
from mutoscope.systems.lavie import LaVie


@pytest.fixture(scope="module")
def pairs(tiny_system: LaVie) -> Pairs:
    """A tiny f4 autoencoder, of patches of 4x4 pixels, beside the tiny system's."""
    torch.manual_seed(0)
    large = AutoencoderKL(
        in_channels=48,
        out_channels=48,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(16,),
        latent_channels=5,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    return Pairs(LatentCodec(large.eval()), LatentCodec(tiny_system.vae))


def video() -> torch.Tensor:
    return torch.rand(2, 3, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.inference_mode()
def test_both_halves_are_what_their_autoencoders_make_of_the_video(pairs: Pairs) -> None:
    latents, low = unpaired(pairs.encode(video()))
    assert latents.shape == (2, 5, 3, 16, 24)
    assert low.shape == (2, 3, 3, 16, 24)
    torch.testing.assert_close(latents, pairs.large.encode(video()))
    small = shrunk(video(), 4)
    torch.testing.assert_close(small[1, 2, 0, 3, 5], video()[1, 2, 0, 12:16, 20:24].mean())
    torch.testing.assert_close(low, pairs.small.decode(pairs.small.encode(small)).clamp(-1, 1))


def test_identity_is_that_of_both_autoencoders(pairs: Pairs, tiny_system: LaVie) -> None:
    same = Pairs(pairs.large, LatentCodec(tiny_system.vae))
    assert same.hash() == pairs.hash()
    assert Pairs(pairs.small, pairs.large).hash() != pairs.hash()


def test_a_size_that_the_small_autoencoder_cannot_take_is_refused(pairs: Pairs) -> None:
    step = 4 * pairs.small.spatial_factor
    with pytest.raises(RequestError, match=f"both sides are multiples of {step}"):
        pairs.encode(video()[..., :36, :])
