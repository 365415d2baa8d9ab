"""The mark is found where it is, faint or after the autoencoder, and nowhere else."""

import pytest
import torch

from mutoscope.encoding.codec import LatentCodec
from mutoscope.metrics.watermark import mark_correlation
from mutoscope.systems.load import load
from mutoscope.types import Video
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.mark import marked
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene


def clips(count: int) -> Video:
    return torch.stack(
        [to_floats(render(draw_scene(seed, split="test"), num_frames=4)) for seed in range(count)]
    )


def with_mark(video: Video, opacity: float) -> Video:
    return torch.stack([to_floats(marked(clip, opacity=opacity)) for clip in to_bytes(video)])


@pytest.mark.slow
def test_marked_clips_are_told_from_clean_ones_before_and_after_the_autoencoder() -> None:
    codec = LatentCodec(load().vae)
    clean = clips(6)
    shown = with_mark(clean, 0.5)
    assert mark_correlation(clean).mean().abs() < 0.15
    assert mark_correlation(shown).min() > 0.5
    with torch.inference_mode():
        again = codec.decode(codec.encode(shown)).clamp(-1, 1)
    assert mark_correlation(again).min() > 0.3  # 0.37 to 0.57 on these


def test_it_grows_with_opacity_and_is_nothing_for_an_even_picture_or_a_moved_mark() -> None:
    clean = clips(4)
    by_opacity = [mark_correlation(with_mark(clean, each)).mean() for each in (0.0, 0.1, 0.3)]
    assert by_opacity == sorted(by_opacity)
    even = torch.zeros(1, 3, 2, 80, 128)
    assert mark_correlation(even).item() == 0
    assert mark_correlation(with_mark(even, 0.1)).item() > 0.95
    moved = with_mark(even, 0.5).roll((6, 9), dims=(-2, -1))
    assert mark_correlation(moved).abs().item() < 0.3
