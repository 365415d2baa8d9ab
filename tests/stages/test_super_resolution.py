"""SuperResolution: what it is told, what counts in training, and long videos in windows."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from mutoscope.diffusion.denoise import OnStep
from mutoscope.diffusion.guidance import Unguided
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.diffusion.tiles import Tiles
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.super_resolution import LOW, SuperResolution, part_of
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Batch

V = VariancePreserving("cosine", "v")
WHOLE = Tiles(height=64, width=64, overlap=0)


@pytest.fixture(scope="module")
def text(tiny_system: LaVie) -> TextEncoder:
    return TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)


@pytest.fixture(scope="module")
def stage(tiny_system: LaVie, text: TextEncoder) -> SuperResolution:
    """A network of random weights, none of them zero, so that everything it is told matters."""
    torch.manual_seed(0)
    network: VideoUNet = VideoUNet(
        in_channels=4 + 3,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention_levels=(False, True),
        num_attention_heads=2,
        cross_attention_dim=tiny_system.base.config.cross_attention_dim,
        norm_num_groups=4,
        num_noise_levels=350,
        temporal_convolutions=True,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return SuperResolution(network.eval(), V, text, most_known=3, text_dropout=0.0)


def draw(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch(frames: int = 6) -> Batch:
    return Batch(
        captions=("a red star", "a blue circle"),
        latents=draw(2, 4, frames, 4, 6),
        video=draw(2, 3, frames, 4, 6, seed=8).clamp(-1, 1),
    )


def told(stage: SuperResolution, low: Tensor, level: int = 20, seed: int = 3) -> Condition:
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(low))]
    return stage.knowing(stage.describe(["a red star"] * len(low)), low, level, generators)


def enlarge(
    stage: SuperResolution,
    condition: Condition,
    overlap: int,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Tensor:
    parts = stage.enlarge(
        partial(part_of, condition),
        (4, *condition.beside[LOW].shape[2:]),
        window=6,
        overlap=overlap,
        tiles=WHOLE,
        scheduler=V.scheduler("ddim"),
        steps=3,
        guidance=Unguided(),
        generators=[torch.Generator().manual_seed(seed + i) for i in range(condition.batch_size)],
        on_step=on_step,
    )
    return torch.cat(list(parts), dim=2)


def test_the_small_video_its_noise_level_and_the_text_all_matter(stage: SuperResolution) -> None:
    low = draw(1, 3, 2, 4, 6)
    condition = told(stage, low)
    noisy, time = draw(1, 4, 2, 4, 6, seed=1), torch.tensor([500.0])
    others = [
        replace(condition, beside={LOW: condition.beside[LOW].flip(-1)}),
        replace(condition, noise_level=torch.tensor([300])),
        replace(told(stage, low), text=stage.describe(["a blue circle"]).text),
    ]
    with torch.inference_mode():
        answer = stage.predict(noisy, time, condition)
        assert torch.equal(answer, stage.predict(noisy, time, told(stage, low)))
        for other in others:
            assert not torch.allclose(answer, stage.predict(noisy, time, other), atol=1e-5)


def test_the_noise_level_says_how_much_noise_is_added(stage: SuperResolution) -> None:
    low = draw(1, 3, 2, 30, 40).clamp(-1, 1)
    distances = [
        float((told(stage, low, level).beside[LOW] - low).square().mean())
        for level in (0, 50, 150, 349)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 1e-3
    assert distances[-1] > 0.3


@pytest.mark.parametrize("level", [-1, 350])
def test_refuses_noise_it_was_not_trained_with(stage: SuperResolution, level: int) -> None:
    with pytest.raises(RequestError, match=r"this model knows 0 .* to 349"):
        told(stage, draw(1, 3, 2, 4, 6), level)


@pytest.mark.slow
def test_it_may_learn_less_noise_than_its_network_tells_apart(stage: SuperResolution) -> None:
    for most in (3, 40):
        capped = SuperResolution(stage.network, V, stage.text, most_noise=most)
        generator, levels = torch.Generator().manual_seed(0), set()
        for _ in range(20 * most):
            level = capped.condition_for_training(batch(frames=1), generator).noise_level
            levels |= set(level.tolist())
        assert levels == set(range(most + 1))
        told(capped, draw(1, 3, 2, 4, 6), most)
        with pytest.raises(RequestError, match=rf"this model knows 0 .* to {most} "):
            told(capped, draw(1, 3, 2, 4, 6), most + 1)


@pytest.mark.slow
def test_most_of_its_training_is_on_little_noise(stage: SuperResolution) -> None:
    capped = SuperResolution(stage.network, V, stage.text, most_noise=199)
    generator = torch.Generator().manual_seed(0)
    drawn = [
        capped.condition_for_training(batch(frames=1), generator).noise_level for _ in range(700)
    ]
    levels = torch.cat([level for level in drawn if level is not None])
    for most, share in ((25, 0.5), (100, 0.794)):
        assert (levels < most).float().mean() == pytest.approx(share, abs=0.03)


def test_a_small_video_of_another_grid_is_refused(stage: SuperResolution) -> None:
    condition = told(stage, draw(1, 3, 2, 4, 6))
    with pytest.raises(RequestError, match="they lie on one grid"):
        stage.predict(draw(1, 4, 2, 8, 12), torch.tensor([500.0]), condition)


class Wrong(nn.Module):
    """Right everywhere but on the first `wrong` frames, where it answers nonsense."""

    def __init__(self, clean: Tensor, wrong: int) -> None:
        super().__init__()
        self.clean, self.wrong = clean, wrong
        self.config = type("Config", (), {"num_noise_levels": 350})

    def forward(self, sample: Tensor, timestep: Tensor, **_: object) -> Tensor:
        noisy = sample[:, :4]
        zero, one = torch.zeros_like(noisy), torch.ones_like(noisy)
        signal, scale = V.add_noise(one, zero, timestep), V.add_noise(zero, one, timestep)
        noise = (noisy - signal * self.clean) / scale
        answer = V.target(self.clean, noise, timestep)
        answer[:, :, : self.wrong] = 100
        return answer


class AllKnown(SuperResolution):
    """Knows the first two frames of every training clip."""

    def condition_for_training(self, batch: Batch, generator: torch.Generator) -> Condition:
        condition = super().condition_for_training(batch, generator)
        frames = self.clean(batch)
        mask = (torch.arange(frames.shape[2]) < 2).expand(len(frames), -1)
        return replace(condition, frames=frames, frame_mask=mask)


def test_known_frames_count_nothing_and_all_others_do(text: TextEncoder) -> None:
    data = batch()
    assert data.latents is not None
    generator = torch.Generator().manual_seed(0)
    for wrong, counts in ((0, False), (2, False), (3, True)):
        stage = AllKnown(Wrong(data.latents, wrong), V, text)
        assert (float(stage.loss(data, generator).value) > 1) == counts


def test_known_frames_are_shown_clean_in_training(stage: SuperResolution) -> None:
    seen: list[Tensor] = []

    class Looking(Wrong):
        def forward(self, sample: Tensor, timestep: Tensor, **_: object) -> Tensor:
            seen.append(sample[:, :4].clone())
            return super().forward(sample, timestep)

    data = batch()
    assert data.latents is not None
    AllKnown(Looking(data.latents, 0), V, stage.text).loss(data, torch.Generator().manual_seed(0))
    assert torch.equal(seen[0][:, :, :2], data.latents[:, :, :2])
    assert not torch.allclose(seen[0][:, :, 2:], data.latents[:, :, 2:], atol=0.01)


def test_half_of_the_training_clips_begin_with_known_frames(stage: SuperResolution) -> None:
    generator = torch.Generator().manual_seed(0)
    counts: list[int] = []
    for _ in range(100):
        mask = stage.condition_for_training(batch(), generator).frame_mask
        assert mask is not None
        assert all(row.tolist() == sorted(row.tolist(), reverse=True) for row in mask)
        counts += mask.sum(dim=1).tolist()
    assert set(counts) == {0, 1, 2, 3}
    assert 70 < counts.count(0) < 130
    # A still, and a clip too short for that, have none.
    assert stage.condition_for_training(batch(frames=1), generator).frame_mask is None


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1, 6, 7, 13])
def test_any_length_comes_out_whole(stage: SuperResolution, frames: int) -> None:
    condition = told(stage, draw(2, 3, frames, 4, 6))
    assert enlarge(stage, condition, overlap=2).shape == (2, 4, frames, 4, 6)


@pytest.mark.slow
def test_later_windows_change_nothing_before_them_and_see_what_is_shared(
    stage: SuperResolution,
) -> None:
    condition = told(stage, draw(1, 3, 12, 4, 6))
    video = enlarge(stage, condition, overlap=2)
    # Other pixels from frame 6 on, which the first window does not make; frame 5 both make.
    changed = condition.beside[LOW].clone()
    changed[:, :, 6:] += 1
    other = enlarge(stage, replace(condition, beside={LOW: changed}), overlap=2)
    assert torch.equal(video[:, :, :5], other[:, :, :5])
    assert not torch.allclose(video[:, :, 6:], other[:, :, 6:], atol=1e-4)
    # Other pixels in frames 0 to 3 change frames 4 and 5, and so what the second window begins
    # with: with an overlap it comes out otherwise, without one it cannot know.
    changed = condition.beside[LOW].clone()
    changed[:, :, :4] += 1
    begun = replace(condition, beside={LOW: changed})
    assert not torch.equal(enlarge(stage, begun, overlap=2)[:, :, 6:], video[:, :, 6:])
    assert torch.equal(
        enlarge(stage, begun, overlap=0)[:, :, 6:], enlarge(stage, condition, overlap=0)[:, :, 6:]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("overlap", "finished"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_a_window_begins_in_frames_of_the_one_before_and_blends_into_others(
    stage: SuperResolution, overlap: int, finished: int
) -> None:
    seen: list[Tensor] = []
    drawn: list[Tensor] = []
    hook = stage.network.register_forward_pre_hook(
        lambda _, __, told: seen.append(told["sample"][:, :4].clone()), with_kwargs=True
    )
    try:
        condition = told(stage, draw(1, 3, 12 - overlap, 4, 6))
        video = enlarge(
            stage, condition, overlap, on_step=lambda _, __, latents: drawn.append(latents.clone())
        )
    finally:
        hook.remove()
    # Three steps a window of 6 frames; the second shows finished frames in all of its steps.
    assert len(seen) == 6
    start = 6 - overlap
    for sample in seen[3:]:
        assert torch.equal(sample[:, :, :finished], video[:, :, start : start + finished])
        assert not torch.allclose(sample[:, :, finished:], video[:, :, start + finished :])
    # The others of those shared lie between what the two windows drew, ever nearer to the second.
    first, second = drawn[2][:, :, start:], drawn[5][:, :, :overlap]
    blended = overlap - finished
    for number in range(blended):
        share = (number + 1) / (blended + 1)
        at = finished + number
        between = (1 - share) * first[:, :, at] + share * second[:, :, at]
        torch.testing.assert_close(video[:, :, start + at], between, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(first[:, :, at], second[:, :, at], atol=1e-2)
    assert torch.equal(video[:, :, 6:], drawn[5][:, :, overlap:])


def test_steps_are_counted_over_all_windows(stage: SuperResolution) -> None:
    steps: list[tuple[int, int]] = []
    parts = stage.enlarge(
        partial(part_of, told(stage, draw(1, 3, 10, 4, 6))),
        (4, 10, 4, 6),
        window=6,
        overlap=2,
        tiles=WHOLE,
        scheduler=V.scheduler("ddim"),
        steps=3,
        guidance=Unguided(),
        generators=[torch.Generator()],
        on_step=lambda done, total, _: steps.append((done, total)),
    )
    next(parts)
    assert steps == [(1, 6), (2, 6), (3, 6)]
    list(parts)
    assert steps[3:] == [(4, 6), (5, 6), (6, 6)]


@pytest.mark.slow
def test_each_sample_is_its_own(stage: SuperResolution) -> None:
    low = draw(2, 3, 8, 4, 6)
    together = enlarge(stage, told(stage, low), overlap=2)
    generators: Sequence[torch.Generator] = [torch.Generator().manual_seed(4)]
    alone = stage.knowing(stage.describe(["a red star"]), low[1:], 20, generators)
    torch.testing.assert_close(
        enlarge(stage, alone, overlap=2, seed=1), together[1:], atol=1e-4, rtol=1e-4
    )
