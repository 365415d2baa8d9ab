"""Clips that begin with a known frame: pictures that move, and videos of many clips."""

import numpy as np
import pytest
import torch

from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import process_from
from mutoscope.diffusion.windows import Window
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.beginning import beginning_with
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.long import clips
from mutoscope.systems.plan import plan, task_of
from mutoscope.training.initialise import from_seed
from mutoscope.types import Latents, Size
from mutoscope.video.frames import Frames, fit, to_floats
from tests.tiny import build_tiny_system

PROMPT = "a red star drifts left"


def picture(height: int = 40, width: int = 33, seed: int = 0) -> Frames:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 255, (1, height, width, 3), dtype=np.uint8)


def keys(system: LaVie, prompt: str | list[str] = PROMPT, **request: object) -> Latents:
    found = system(prompt, stages=["base"], output_type="latent", **request).frames
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize(
    ("num_keys", "found"),
    [
        (1, [Window(0, 4, 0)]),
        (4, [Window(0, 4, 0)]),
        (5, [Window(0, 4, 0), Window(3, 7, 1)]),
        (8, [Window(0, 4, 0), Window(3, 7, 1), Window(6, 10, 1)]),
    ],
)
def test_clips_share_one_frame_and_have_one_length(num_keys: int, found: list[Window]) -> None:
    assert clips(num_keys, 4) == found
    assert clips(num_keys, num_keys) == [Window(0, num_keys, 0)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, Size(20, 28)])
def test_a_picture_is_the_first_frame_as_it_is(told_system: LaVie, size: Size | None) -> None:
    shown = fit(picture(), size or told_system.native_size)
    with torch.inference_mode():
        first = LatentCodec(told_system.vae).encode(to_floats(shown)[None])
    drawn = keys(told_system, image=picture(), size=None if size is None else Size(20, 28))
    assert drawn.shape[2] == 4
    assert torch.equal(drawn[:, :, :1], first)
    other = keys(told_system, image=picture(seed=1), size=size)
    assert not torch.allclose(drawn[:, :, 1:], other[:, :, 1:], atol=1e-2)
    assert not torch.equal(drawn[:, :, 1:], keys(told_system, size=size)[:, :, 1:])


@pytest.mark.slow
def test_each_clip_goes_on_from_the_last_frame_which_is_shown_once(told_system: LaVie) -> None:
    """Against the second clip drawn by hand, from the next noise of the same generator."""
    long = keys(told_system, num_frames=7, long=True, seeds=5)
    assert torch.equal(long[:, :, :4], keys(told_system, seeds=5))
    text = TextEncoder(told_system.text_encoder, told_system.tokenizer)
    stage = KeyFrames(told_system.base, process_from(told_system.scheduler), text)
    generator = torch.Generator().manual_seed(5)
    torch.randn(4, 4, 8, 12, generator=generator)
    with torch.inference_mode():
        second = stage.sample(
            beginning_with(stage.describe([PROMPT]), long[:, :, 3:4], 4),
            (4, 4, 8, 12),
            scheduler=told_system.scheduler,
            steps=3,
            guidance=TextGuidance(2.0),
            generators=[generator],
        )
    assert torch.equal(second[:, :, :1], long[:, :, 3:4])
    assert torch.equal(second[:, :, 1:], long[:, :, 4:])
    assert not torch.allclose(long[:, :, 3], long[:, :, 4], atol=1e-2)


@pytest.mark.slow
def test_a_long_video_is_trimmed_and_can_begin_with_a_picture(told_system: LaVie) -> None:
    ten, eight = (keys(told_system, num_frames=n, long=True, image=picture()) for n in (10, 8))
    assert (ten.shape[2], eight.shape[2]) == (10, 8)
    assert torch.equal(ten[:, :, :8], eight)
    assert torch.equal(ten[:, :, :4], keys(told_system, image=picture()))


@pytest.mark.slow
def test_a_seed_decides_a_long_video_whatever_the_batch(told_system: LaVie) -> None:
    prompts = [PROMPT, "a blue circle at night"]
    batch = keys(told_system, prompts, seeds=3, num_frames=7, long=True)
    for row, prompt in enumerate(prompts):
        alone = keys(told_system, prompt, seeds=3 + row, num_frames=7, long=True)
        torch.testing.assert_close(batch[row : row + 1], alone, atol=1e-3, rtol=1e-3)
    other = keys(told_system, PROMPT, seeds=4, num_frames=7, long=True)
    assert not torch.allclose(batch[:1], other, atol=1e-2)


def test_steps_are_counted_over_all_clips(told_system: LaVie) -> None:
    seen: list[tuple[int, int]] = []
    keys(told_system, num_frames=7, long=True, on_step=lambda i, n, _: seen.append((i, n)))
    assert seen == [(step, 6) for step in range(1, 7)]


@pytest.mark.slow
def test_later_stages_see_one_video_and_resuming_changes_nothing(told_system: LaVie) -> None:
    drawn: dict[str, Latents] = {}
    asked: dict[str, object] = {"num_frames": 18, "long": True, "image": picture()}
    whole = told_system(PROMPT, on_stage=drawn.__setitem__, **asked)
    assert whole.frames.shape == (1, 18, 32, 48, 3)
    assert drawn["base"].shape[2] == 6
    del asked["image"]  # what it did is in the latents
    again = told_system(PROMPT, resume=("base", drawn["base"]), **asked)
    assert np.array_equal(again.frames, whole.frames)


def test_one_clip_needs_no_network_that_goes_on(tiny_cascade: LaVie) -> None:
    assert torch.equal(keys(tiny_cascade, num_frames=3, long=True), keys(tiny_cascade)[:, :, :3])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"image": picture()}, "begins with a picture cannot be made: the base network"),
        ({"num_frames": 14, "long": True}, "14 frames, in 2 clips .* cannot be made: the base"),
    ],
)
def test_a_base_that_is_not_told_first_frames_says_so(
    tiny_cascade: LaVie, request_: dict[str, object], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        tiny_cascade(PROMPT, **request_)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"num_frames": 386, "long": True}, "386 frames cannot be made: .* 2 to 385 frames"),
        ({"num_frames": 1, "long": True}, "1 frames cannot be made"),
        ({"num_frames": 1, "image": picture()}, "that would be the picture"),
        ({"image": np.zeros((2, 8, 8, 3), np.uint8)}, "2 frames are no picture"),
    ],
)
def test_what_cannot_be_made_long_is_said(
    told_system: LaVie, request_: dict[str, object], words: str
) -> None:
    def never(done: int, total: int, latents: torch.Tensor) -> None:
        raise AssertionError("work was done")

    with pytest.raises(RequestError, match=words):
        told_system(PROMPT, on_step=never, **request_)


def test_a_plan_counts_every_clip(told_system: LaVie) -> None:
    asked = ["base"], Size(16, 24), 3, 2.0
    system = build_tiny_system(cascade=True)  # a plan moves its modules

    def flops(num_frames: int, *, long: bool) -> int:
        stages, *rest = asked
        task = task_of(system, stages, num_frames, *rest, long=long)
        made = plan(system, task, dtypes=(torch.float32,))
        (line,) = (each for each in made.lines if each.name == "base")
        return line.flops

    assert flops(9, long=True) == 3 * flops(4, long=False)


@pytest.mark.parametrize("numbered", [False, True])
def test_twice_the_key_frames_can_be_drawn_at_once(tiny_system: LaVie, numbered: bool) -> None:
    """RoPE goes on beyond the distances of training, and numbers of frames are squeezed."""
    system = tiny_system
    if numbered:
        told = tiny_system.base.config | {"frame_numbers": 4}
        base = from_seed(0, lambda: VideoUNet(**told))
        for parameter in base.parameters():
            if not parameter.any():
                torch.nn.init.normal_(
                    parameter, std=0.1, generator=torch.Generator().manual_seed(0)
                )
        names = "num_frames height width steps guidance_scale"
        kept = {name: tiny_system.config[name] for name in names.split()}
        system = LaVie(**tiny_system.components | {"base": base.eval()}, **kept)
    drawn = keys(system, num_frames=8)
    assert drawn.shape[2] == 8
    assert drawn.isfinite().all()
    # All eight are one clip: what comes last has its part in what comes first.
    assert not torch.allclose(drawn[:, :, :4], keys(system), atol=1e-3)
