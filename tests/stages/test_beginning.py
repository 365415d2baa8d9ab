"""Beginning: what a network is told of a clip's first frame, and what it learns from it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mutoscope.diffusion.process import VariancePreserving
from mutoscope.diffusion.times import UniformTimes
from mutoscope.encoding.text import TextEncoder
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.nn.widen import widen
from mutoscope.recipes.first_frame import told_first_frames, worth_of_first_frames
from mutoscope.stages.beginning import GOES_ON, beginning_with, beside_noise, can_begin
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.lavie import LaVie
from mutoscope.training.initialise import from_seed
from mutoscope.types import Batch


def latents(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def text(tiny_system: LaVie) -> TextEncoder:
    return TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)


def stage_of(network: VideoUNet, text: TextEncoder, untold: float = 0.0) -> KeyFrames:
    return KeyFrames(network, VariancePreserving(), text, text_dropout=0.0, untold=untold)


def joint_batch() -> Batch:
    return Batch(
        captions=("a red star", "a blue circle"),
        latents=latents(2, 4, 3, 8, 12),
        image_captions=(("a star", "a circle"), ("red", "blue")),
        image_latents=latents(2, 4, 2, 8, 12),
    )


def test_only_a_network_with_channels_for_it_can_begin(tiny_system: LaVie) -> None:
    assert not can_begin(tiny_system.base)
    assert not can_begin(widen(tiny_system.base, in_channels=8))
    assert can_begin(told_first_frames(tiny_system.base))


@pytest.mark.slow
def test_at_step_0_it_is_the_base_whatever_it_is_told(
    tiny_system: LaVie, text: TextEncoder
) -> None:
    base, wide = (
        stage_of(each, text) for each in (tiny_system.base, told_first_frames(tiny_system.base))
    )
    noisy, time = latents(2, 4, 3, 8, 12), torch.tensor([400.0, 900.0])
    free = base.describe(["a red star", "a blue circle"])
    told = beginning_with(free, 5 * latents(1, 4, 1, 8, 12, seed=1), 3)
    with torch.inference_mode():
        expected = base.predict(noisy, time, free)
        for condition in (free, told):
            assert torch.equal(wide.predict(noisy, time, condition), expected)


def test_the_input_layer_sees_the_first_frame_at_every_frame_and_which_is_known(
    tiny_system: LaVie, text: TextEncoder
) -> None:
    stage = stage_of(told_first_frames(tiny_system.base), text)
    noisy, first = latents(2, 4, 5, 8, 12), latents(2, 4, 1, 8, 12, seed=2)
    told = beginning_with(stage.describe(["a red star"] * 2), first, 5)
    assert told.frame_mask is not None
    # The second clip is told nothing, and what lies under its mask is never looked at.
    frames = told.frames.clone()  # type: ignore[union-attr]
    frames[1] = float("nan")
    half = replace(
        told, frames=frames, frame_mask=told.frame_mask & torch.tensor([[True], [False]])
    )
    seen = beside_noise(noisy, half, num_images=2)
    assert seen.shape == (2, 9, 5, 8, 12)
    assert torch.equal(seen[:, :4], noisy)
    assert torch.equal(seen[0, 4:8, :3], first[0].expand(-1, 3, -1, -1))
    assert not seen[0, 4:8, 3:].any()  # single images have no first frame
    assert seen[0, 8].mean(dim=(1, 2)).tolist() == [1, 0, 0, 0, 0]
    assert not seen[1, 4:].any()
    assert not beside_noise(noisy, stage.describe(["a red star"] * 2), 0)[:, 4:].any()


def test_first_frames_are_left_out_at_the_rate_asked_for_unless_a_clip_goes_on(
    tiny_system: LaVie, text: TextEncoder
) -> None:
    stage = stage_of(told_first_frames(tiny_system.base), text, untold=0.3)
    batch = Batch(captions=("a red star",) * 400, latents=latents(400, 4, 3, 2, 2))
    generator = torch.Generator().manual_seed(0)
    mask = stage.condition_for_training(batch, generator).frame_mask
    assert mask is not None
    assert not mask[:, 1:].any()
    assert 0.62 < float(mask[:, 0].float().mean()) < 0.78
    goes_on = torch.arange(400) < 200
    marked = replace(batch, labels={GOES_ON: goes_on})
    mask = stage.condition_for_training(marked, generator).frame_mask
    assert mask is not None
    assert mask[:200, 0].all()
    assert not mask[200:, 0].all()


def test_a_still_is_never_told_its_own_frame(tiny_system: LaVie, text: TextEncoder) -> None:
    stage = stage_of(told_first_frames(tiny_system.base), text)
    still = Batch(captions=("a red star",), latents=latents(1, 4, 1, 8, 12))
    assert stage.condition_for_training(still, torch.Generator().manual_seed(0)).frames is None
    assert stage.loss(still, torch.Generator().manual_seed(0)).value.isfinite()


def test_images_beside_a_clip_are_learned_too_and_the_known_frame_is_not(
    tiny_system: LaVie, text: TextEncoder
) -> None:
    stage = stage_of(told_first_frames(tiny_system.base), text)
    batch = joint_batch()
    loss = stage.loss(batch, torch.Generator().manual_seed(3))
    assert set(loss.report) == {"video", "image"}
    condition = stage.condition_for_training(batch, torch.Generator().manual_seed(0))
    assert condition.frame_mask is not None
    assert condition.frame_mask.tolist() == [[True, False, False, False, False]] * 2


def shades(count: int, seed: int) -> Batch:
    """Latents of clips that are one shade all through, which no caption tells."""
    shade = torch.randn(count, 4, 1, 1, 1, generator=torch.Generator().manual_seed(seed))
    return Batch(captions=("a red star",) * count, latents=shade.expand(-1, -1, 3, 4, 4).clone())


@pytest.mark.slow
def test_training_teaches_it_to_look_at_the_first_frame(text: TextEncoder) -> None:
    base = from_seed(
        0,
        lambda: VideoUNet(
            block_out_channels=(16, 16),
            layers_per_block=1,
            attention_levels=(False, True),
            num_attention_heads=1,
            cross_attention_dim=32,
            norm_num_groups=4,
        ),
    )
    network = told_first_frames(base).train()
    law = VariancePreserving(betas="cosine", prediction="v")
    noisy = UniformTimes(lowest=800.0)
    stage = KeyFrames(network, law, text, text_dropout=0.0, untold=0.3, times=noisy)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    held_out = shades(32, seed=10**6)
    assert held_out.latents is not None
    for step in range(50):
        loss = stage.loss(shades(16, seed=step), generator).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        errors = worth_of_first_frames(stage, held_out.latents, held_out.captions, time=900.0)
    own, none, another = (float(error.mean()) for error in errors.values())
    assert own < 0.7 * none
    assert own < 0.5 * another
