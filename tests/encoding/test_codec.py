"""The codec: per-frame, scaled, in patches, and honest about sizes."""

import pytest
import torch
from diffusers import AutoencoderKL

from mutoscope.encoding.codec import LatentCodec, Reconstruction, measure_scale
from mutoscope.errors import RequestError
from mutoscope.types import Batch, Size


def small_vae(*, patch: int = 2, scale: float = 0.5, shift: float = 0.1) -> AutoencoderKL:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoencoderKL(
            in_channels=3 * patch**2,
            out_channels=3 * patch**2,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 16),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            scaling_factor=scale,
            shift_factor=shift,
        ).eval()


def clip(frames: int = 3, height: int = 16, width: int = 24) -> torch.Tensor:
    return (
        torch.rand(2, 3, frames, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    )


@pytest.mark.parametrize(("patch", "factor"), [(1, 2), (2, 4)])
def test_patches_multiply_the_spatial_factor(patch: int, factor: int) -> None:
    codec = LatentCodec(small_vae(patch=patch))
    latents = codec.encode(clip())
    assert codec.spatial_factor == factor
    assert latents.shape == (2, 4, 3, 16 // factor, 24 // factor)
    assert codec.decode(latents).shape == (2, 3, 3, 16, 24)


def test_each_frame_is_coded_alone() -> None:
    codec = LatentCodec(small_vae())
    video = clip()
    with torch.inference_mode():
        whole = codec.encode(video)
        alone = torch.cat([codec.encode(video[:, :, i : i + 1]) for i in range(3)], dim=2)
    torch.testing.assert_close(whole, alone)


def test_without_patches_it_is_the_autoencoder_itself() -> None:
    vae = small_vae(patch=1, scale=0.5, shift=0.0)
    video = clip(frames=1)
    with torch.inference_mode():
        mine = LatentCodec(vae).encode(video)[:, :, 0]
        theirs = vae.encode(video[:, :, 0]).latent_dist.mode() * 0.5
        torch.testing.assert_close(mine, theirs)
        decoded = LatentCodec(vae).decode(mine[:, :, None])[:, :, 0]
        torch.testing.assert_close(decoded, vae.decode(theirs / 0.5).sample)


def test_measured_scale_makes_latents_standard() -> None:
    vae = small_vae(scale=1.0, shift=0.0)
    videos = [clip(frames=4), -clip(frames=2)]
    scale, shift = measure_scale(vae, videos)
    vae.register_to_config(scaling_factor=scale, shift_factor=shift)
    with torch.inference_mode():
        latents = torch.cat([LatentCodec(vae).encode(video).flatten() for video in videos])
    assert abs(float(latents.mean())) < 1e-3
    assert abs(float(latents.std()) - 1) < 1e-3


def test_odd_sizes_are_refused_with_both_neighbours() -> None:
    with pytest.raises(RequestError, match=r"multiples of 4 pixels\. Use 16x24 or 20x28"):
        LatentCodec(small_vae()).latent_size(Size(18, 27))


def test_hash_follows_weights_and_scale() -> None:
    vae = small_vae()
    before = LatentCodec(vae).hash()
    assert LatentCodec(small_vae()).hash() == before
    assert LatentCodec(small_vae(scale=0.6)).hash() != before
    with torch.no_grad():
        next(vae.parameters()).add_(1e-3)
    assert LatentCodec(vae).hash() != before


@pytest.mark.slow
def test_reconstruction_learns_and_reports_decibels() -> None:
    vae = small_vae(scale=1.0, shift=0.0)
    objective = Reconstruction(vae, kl_weight=1e-3, edge_weight=0.5)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=3e-3)
    batch, losses = Batch(video=clip(frames=2) * 0.2), []
    for step in range(25):
        loss = objective.loss(batch, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        losses.append(loss)
    assert losses[-1].value < 0.7 * losses[0].value
    assert losses[-1].report["psnr_db"] > losses[0].report["psnr_db"]


def test_edge_weight_counts() -> None:
    loss = [
        Reconstruction(small_vae(), kl_weight=0.0, edge_weight=weight)
        .loss(Batch(video=clip()), torch.Generator().manual_seed(0))
        .value
        for weight in (0.0, 1.0)
    ]
    assert loss[1] > loss[0]
