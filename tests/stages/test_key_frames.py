"""KeyFrames: the loss of the paper, dropout of captions, and samples that depend on their seed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import Process, RectifiedFlow, VariancePreserving
from mutoscope.encoding.text import TextEncoder
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Batch


@pytest.fixture(scope="module")
def stage(tiny_system: LaVie) -> KeyFrames:
    text = TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)
    return KeyFrames(tiny_system.base, VariancePreserving(), text, text_dropout=0.0)


def latents(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def joint_batch() -> Batch:
    return Batch(
        captions=("a red star", "a blue circle"),
        latents=latents(2, 4, 3, 8, 12),
        image_captions=(("a star", "a circle"), ("red", "blue")),
        image_latents=latents(2, 4, 2, 8, 12),
    )


class Perfect(nn.Module):
    """Knows the clean latents, and so what any noisy version of them should be answered with."""

    def __init__(self, process: Process, clean: Tensor) -> None:
        super().__init__()
        self.process, self.clean = process, clean

    def forward(self, sample: Tensor, timestep: Tensor, **told: object) -> Tensor:
        zero, one = torch.zeros_like(sample), torch.ones_like(sample)
        signal = self.process.add_noise(one, zero, timestep)
        scale = self.process.add_noise(zero, one, timestep)
        noise = (sample - signal * self.clean) / scale
        return self.process.target(self.clean, noise, timestep)


@pytest.mark.parametrize(
    "process", [VariancePreserving(), VariancePreserving(prediction="v"), RectifiedFlow()]
)
def test_a_perfect_predictor_has_no_loss(stage: KeyFrames, process: Process) -> None:
    batch = joint_batch()
    clean = stage.clean(batch)
    knowing = KeyFrames(Perfect(process, clean), process, stage.text)
    wrong = KeyFrames(Perfect(process, clean + 0.1), process, stage.text)
    assert knowing.loss(batch, torch.Generator().manual_seed(0)).value < 1e-4
    assert wrong.loss(batch, torch.Generator().manual_seed(0)).value > 1e-3


def test_the_joint_loss_weighs_images_by_alpha(stage: KeyFrames) -> None:
    batch = joint_batch()
    loss = stage.loss(batch, torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss.value.detach(), loss.report["video"] + loss.report["image"])
    heavy = KeyFrames(stage.network, stage.process, stage.text, text_dropout=0.0, image_weight=3.0)
    again = heavy.loss(batch, torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        again.value.detach(), loss.report["video"] + 3 * loss.report["image"]
    )


def test_the_network_is_told_which_frames_it_sees(stage: KeyFrames) -> None:
    """By the batch, and through the halves into which a learner may split it."""
    batch = replace(joint_batch(), frame_stride=2, first_frame=1)
    generator = torch.Generator().manual_seed(0)
    for part in (batch, batch.to("cpu"), *batch.split(2)):
        condition = stage.condition_for_training(part, generator)
        noisy, time = stage.clean(part), torch.full((len(part.captions),), 500.0)
        told = stage.network_input(noisy, time, condition)
        assert (told["frame_stride"], told["first_frame"], told["num_images"]) == (2, 1, 2)
        near = stage.network_input(noisy, time, replace(condition, frame_stride=1))
        with torch.inference_mode():
            assert not torch.equal(stage.network(**told), stage.network(**near))


def test_a_clip_longer_than_its_numbers_is_told_as_more_frames_of_the_same_time(
    stage: KeyFrames,
) -> None:
    network = VideoUNet.from_config(stage.network.config, frame_numbers=4)
    numbered = KeyFrames(network, stage.process, stage.text)
    time = torch.full((1,), 500.0)
    for knows, frames, spacing in ((stage, 7, 1), (numbered, 4, 1), (numbered, 7, 0.5)):
        told = knows.network_input(
            torch.zeros(1, 4, frames, 8, 12), time, knows.describe(["a red star"])
        )
        assert told["frame_stride"] == spacing


def test_things_weigh_as_told_in_clips_and_in_images(stage: KeyFrames) -> None:
    """Against the same error without weights: what is added is 2 x the error on the things."""
    batch = joint_batch()
    draw = torch.Generator().manual_seed(5)
    things = torch.rand(2, 3, 8, 12, generator=draw) < 0.3
    image_things = torch.rand(2, 2, 8, 12, generator=draw) < 0.3
    labels = {"things": things, "image_things": image_things}
    heavy = KeyFrames(stage.network, stage.process, stage.text, thing_weight=3.0)
    error = torch.rand(2, 4, 5, 8, 12, generator=draw)
    plain = stage.reduce(error, batch)
    for other in (stage.reduce(error, replace(batch, labels=labels)), heavy.reduce(error, batch)):
        assert torch.equal(other.value, plain.value)
    weighed = heavy.reduce(error, replace(batch, labels=labels))
    more = (error[:, :, :3] * things[:, None]).mean() + (
        error[:, :, 3:] * image_things[:, None]
    ).mean()
    torch.testing.assert_close(weighed.value, plain.value + 2 * more)


def test_appended_images_have_their_own_captions(stage: KeyFrames) -> None:
    """Another caption of one image changes the prediction of that image alone."""
    batch = joint_batch()
    noisy, time = stage.clean(batch), torch.tensor([500.0, 500.0])
    answers = []
    for word in ("circle", "sea"):
        told = replace(batch, image_captions=(("a star", f"a {word}"), ("red", "blue")))
        condition = stage.condition_for_training(told, torch.Generator().manual_seed(0))
        with torch.inference_mode():
            answers.append(stage.predict(noisy, time, condition))
    changed = (answers[0] - answers[1]).abs().amax(dim=(1, 3, 4)) > 1e-6
    assert changed.tolist() == [[False] * 4 + [True], [False] * 5]


def test_captions_are_dropped_at_the_rate_asked_for(tiny_system: LaVie) -> None:
    text = TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)
    stage = KeyFrames(tiny_system.base, VariancePreserving(), text, text_dropout=0.3)
    batch = Batch(captions=("a red star",) * 400, latents=latents(400, 4, 1, 2, 2))
    condition = stage.condition_for_training(batch, torch.Generator().manual_seed(0))
    dropped = condition.text_mask.sum(dim=1) == 2
    assert 0.22 < float(dropped.float().mean()) < 0.38


def test_the_text_encoder_is_not_trained(stage: KeyFrames) -> None:
    stage.loss(joint_batch(), torch.Generator().manual_seed(0)).value.backward()
    assert all(parameter.grad is None for parameter in stage.text.model.parameters())
    assert all(parameter.grad is not None for parameter in stage.network.parameters())
    stage.network.zero_grad(set_to_none=True)


@pytest.mark.slow
def test_a_sample_depends_on_its_seed_and_not_on_its_batch(stage: KeyFrames) -> None:
    def draw(prompts: list[str], seeds: list[int]) -> Tensor:
        return stage.sample(
            stage.describe(prompts),
            (4, 3, 8, 12),
            scheduler=stage.process.scheduler(),
            steps=3,
            guidance=TextGuidance(2.0),
            generators=[torch.Generator().manual_seed(seed) for seed in seeds],
        )

    together = draw(["a red star", "a blue circle"], [1, 2])
    alone = draw(["a blue circle"], [2])
    torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(draw(["a blue circle"], [3]), alone, atol=1e-2)
    assert not torch.allclose(draw(["a red star"], [2]), alone, atol=1e-4)
