"""Noise of some frames is that of the whole video, and the generators go on as if it were drawn."""

import pytest
import torch

from mutoscope.diffusion.denoise import draw_noise
from mutoscope.diffusion.frame_noise import FrameNoise
from mutoscope.errors import RequestError


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize(
    "shape",
    [(3, 19, 16, 24), (3, 7, 2, 6), (3, 5, 3, 5), (3, 4, 1, 1), (1, 17, 1, 1), (3, 1, 9, 9)],
)
def test_every_stretch_of_frames_has_the_bits_of_the_whole(shape: tuple[int, ...]) -> None:
    ours, theirs = seeded(3, 4), seeded(3, 4)
    noise, whole = FrameNoise(shape, ours), draw_noise(shape, theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(torch.randn(50, generator=one), torch.randn(50, generator=other))
    for start in range(shape[1]):
        for stop in range(start + 1, shape[1] + 1):
            assert torch.equal(noise.of(slice(start, stop)), whole[:, :, start:stop])


def test_one_generator_may_draw_several_samples() -> None:
    (ours,), (theirs,) = seeded(3), seeded(3)
    noise = FrameNoise((3, 5, 4, 6), [ours] * 2)
    assert torch.equal(noise.of(slice(None)), draw_noise((3, 5, 4, 6), [theirs] * 2))


def test_without_generators_nothing_is_drawn() -> None:
    with pytest.raises(RequestError, match="0 samples"):
        FrameNoise((3, 5, 4, 6), [])
