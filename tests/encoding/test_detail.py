"""Detail: latents of what the enlarged small video lacks."""

import pytest
import torch

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.detail import DetailCodec, bicubic, shrunk
from mutoscope.systems.lavie import LaVie


@pytest.fixture
def codec(tiny_system: LaVie) -> LatentCodec:
    """Of factor 2."""
    return LatentCodec(tiny_system.vae)


def draw(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.inference_mode()
def test_without_a_scale_it_is_the_autoencoder(codec: LatentCodec) -> None:
    video, low = draw(1, 3, 2, 8, 12), draw(1, 3, 2, 4, 6)
    details = DetailCodec(codec, None)
    assert torch.equal(details.encode(video, low), codec.encode(video))
    latents = codec.encode(video)
    assert torch.equal(details.decode(latents, low), codec.decode(latents))
    assert details.hash() == codec.hash()


@torch.inference_mode()
def test_detail_and_what_is_known_are_the_whole(codec: LatentCodec) -> None:
    video, low = draw(2, 3, 2, 8, 12), draw(2, 3, 2, 4, 6)
    details = DetailCodec(codec, 0.4)
    latents = details.encode(video, low)
    wanted = (codec.encode(video) - codec.encode(bicubic(low, 2))) / 0.4
    torch.testing.assert_close(latents, wanted)
    whole = codec.decode(codec.encode(video))
    known = whole + bicubic(low - shrunk(whole, 2), 2)
    torch.testing.assert_close(details.decode(latents, low), known, atol=1e-5, rtol=0)
    assert (details.decode(latents, low.flip(2)) - known).abs().max() > 0.01


@torch.inference_mode()
def test_what_is_decoded_agrees_with_the_small_video(codec: LatentCodec) -> None:
    low, latents = draw(1, 3, 2, 4, 6), draw(1, codec.channels, 2, 4, 6)
    video = DetailCodec(codec, 0.4).decode(latents, low)
    as_it_is = codec.decode(codec.encode(bicubic(low, 2)) + 0.4 * latents)
    errors = [(shrunk(each, 2) - low).square().mean().sqrt() for each in (video, as_it_is)]
    assert errors[0] < 0.3 * errors[1]


@torch.inference_mode()
def test_what_the_small_video_shows_is_no_detail(codec: LatentCodec) -> None:
    low = draw(1, 3, 1, 4, 6)
    assert torch.equal(
        DetailCodec(codec, 0.4).encode(bicubic(low, 2), low),
        torch.zeros(1, codec.channels, 1, 4, 6),
    )


def test_latents_of_another_scale_are_others(codec: LatentCodec) -> None:
    hashes = {DetailCodec(codec, scale).hash() for scale in (None, 0.4, 0.5)}
    assert len(hashes) == 3


def test_bicubic_keeps_flat_frames_and_the_range() -> None:
    flat = torch.full((1, 3, 2, 4, 4), 0.25)
    torch.testing.assert_close(bicubic(flat, 4), torch.full((1, 3, 2, 16, 16), 0.25))
    step = torch.cat([torch.full((1, 3, 1, 4, 4), -1.0), torch.full((1, 3, 1, 4, 4), 1.0)], dim=-1)
    assert float(bicubic(step, 4).abs().max()) == 1
