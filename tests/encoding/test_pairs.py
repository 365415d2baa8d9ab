"""Pairs: latents of a large video beside the small one."""

import pytest
import torch
from diffusers import AutoencoderKL

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.detail import bicubic, shrunk
from mutoscope.encoding.pairs import Pairs, unpaired


@pytest.fixture(scope="module")
def codec() -> LatentCodec:
    """A tiny f4 autoencoder, of patches of 4x4 pixels."""
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
    return LatentCodec(large.eval())


def video() -> torch.Tensor:
    return torch.rand(2, 3, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.inference_mode()
@pytest.mark.parametrize("detail", [None, 0.5])
def test_the_small_video_is_the_large_one_made_smaller(
    codec: LatentCodec, detail: float | None
) -> None:
    latents, low = unpaired(Pairs(codec, detail=detail).encode(video()))
    assert latents.shape == (2, 5, 3, 16, 24)
    assert low.shape == (2, 3, 3, 16, 24)
    torch.testing.assert_close(low, shrunk(video(), 4))
    torch.testing.assert_close(low[1, 2, 0, 3, 5], video()[1, 2, 0, 12:16, 20:24].mean())
    whole = codec.encode(video())
    lacking = whole - codec.encode(bicubic(low, 4))
    torch.testing.assert_close(latents, whole if detail is None else lacking / detail)


def test_identity_is_that_of_what_the_latents_mean(codec: LatentCodec) -> None:
    assert Pairs(codec).hash() == codec.hash()
    hashes = {Pairs(codec, detail=detail).hash() for detail in (None, 0.4, 0.5)}
    assert len(hashes) == 3
