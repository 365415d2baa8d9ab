"""Sharpness falls when a clip is blurred, and does not depend on brightness."""

import torch
from torch.nn import functional

from mutoscope.metrics.sharpness import sharpness
from mutoscope.types import Video


def noise() -> Video:
    return torch.rand(2, 3, 4, 16, 24, generator=torch.Generator().manual_seed(0)) - 0.5


def test_a_clip_scaled_up_is_less_sharp_frame_by_frame() -> None:
    video = noise()
    half = functional.interpolate(video, scale_factor=(1, 0.5, 0.5), mode="area")
    blurred = functional.interpolate(half, size=video.shape[2:], mode="trilinear")
    assert (sharpness(video) - sharpness(blurred)).min() > 2
    mixed = torch.cat([video, blurred], dim=2)
    torch.testing.assert_close(sharpness(mixed), (sharpness(video) + sharpness(blurred)) / 2)


def test_brightness_does_nothing_and_contrast_adds_its_logarithm() -> None:
    video = noise()
    torch.testing.assert_close(sharpness(video + 0.2), sharpness(video), atol=1e-4, rtol=0)
    gain = sharpness(0.5 * video) - sharpness(video)
    torch.testing.assert_close(gain, torch.full((2,), -1.3863), atol=1e-3, rtol=0)
    assert sharpness(torch.zeros(1, 3, 1, 8, 8)).item() < -18
