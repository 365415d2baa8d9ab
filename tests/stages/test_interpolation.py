"""Interpolation: which key frame each frame is told, the loss, and that the key frames matter."""

import pytest
import torch
from torch import Tensor, nn

from mutoscope.diffusion.guidance import TextGuidance, Unguided
from mutoscope.diffusion.process import Process, RectifiedFlow, VariancePreserving
from mutoscope.diffusion.tiles import Tiles
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.nn.widen import widen
from mutoscope.stages.interpolation import Interpolation, num_frames, shown_keys, spread
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Batch

V = VariancePreserving("cosine", "v")


@pytest.fixture(scope="module")
def text(tiny_system: LaVie) -> TextEncoder:
    return TextEncoder(tiny_system.text_encoder, tiny_system.tokenizer)


@pytest.fixture(scope="module")
def stage(tiny_system: LaVie, text: TextEncoder) -> Interpolation:
    """Built on the tiny base, with the new weights moved away from zero, so that keys matter."""
    wide = widen(tiny_system.base, in_channels=8)
    with torch.no_grad():
        wide.conv_in.weight[:, 4:].normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    return Interpolation(wide, V, text, text_dropout=0.0)


def latents(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def batch(frames: int = 5) -> Batch:
    return Batch(captions=("a red star", "a blue circle"), latents=latents(2, 4, frames, 4, 6))


@pytest.mark.parametrize(
    ("num_keys", "times_shown"),
    [(2, [3, 2]), (5, [3, 4, 4, 4, 2]), (16, [3, *[4] * 14, 2])],
)
def test_each_frame_is_told_the_key_frame_that_the_release_tells_it(
    num_keys: int, times_shown: list[int]
) -> None:
    keys = shown_keys(num_keys, factor=4)
    assert len(keys) == 4 * num_keys - 3 == num_frames(num_keys, factor=4)
    assert keys.bincount().tolist() == times_shown
    assert keys.tolist() == [min(num_keys - 1, (i + 1) // 4) for i in range(4 * num_keys - 3)]


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8])
def test_the_key_frame_told_is_the_nearest_and_of_two_the_earlier(factor: int) -> None:
    for frame, key in enumerate(shown_keys(4, factor=factor).tolist()):
        distances = [(abs(frame - factor * other), other) for other in range(4)]
        assert key == min(distances)[1]


def test_frames_at_the_key_frames_times_are_told_their_own() -> None:
    keys = latents(2, 4, 5, 3, 3)
    assert torch.equal(spread(keys, factor=4)[:, :, ::4], keys)


def test_the_network_sees_the_noise_first_and_then_the_keys(stage: Interpolation) -> None:
    keys, noisy = latents(1, 4, 2, 4, 6), latents(1, 4, 5, 4, 6, seed=8)
    condition = stage.knowing(stage.describe(["a red star"]), keys)
    sample = stage.network_input(noisy, torch.tensor([9.0]), condition)["sample"]
    assert isinstance(sample, Tensor)
    assert torch.equal(sample[:, :4], noisy)
    assert torch.equal(sample[:, 4:], keys[:, :, [0, 0, 0, 1, 1]])


class Perfect(nn.Module):
    """Knows the clean latents, and so what any noisy version of them should be answered with."""

    def __init__(self, process: Process, clean: Tensor) -> None:
        super().__init__()
        self.process, self.clean = process, clean

    def forward(self, sample: Tensor, timestep: Tensor, **told: object) -> Tensor:
        noisy = sample[:, :4]
        zero, one = torch.zeros_like(noisy), torch.ones_like(noisy)
        signal = self.process.add_noise(one, zero, timestep)
        scale = self.process.add_noise(zero, one, timestep)
        noise = (noisy - signal * self.clean) / scale
        return self.process.target(self.clean, noise, timestep)


@pytest.mark.parametrize("process", [VariancePreserving(), V, RectifiedFlow()])
def test_a_perfect_predictor_has_no_loss(text: TextEncoder, process: Process) -> None:
    one = batch()
    assert one.latents is not None
    knowing = Interpolation(Perfect(process, one.latents), process, text)
    assert knowing.loss(one, torch.Generator().manual_seed(0)).value < 1e-4


def test_the_loss_ignores_nothing(text: TextEncoder) -> None:
    """An error in any one value counts, and as much as in any other of its clip."""
    one = batch()
    assert one.latents is not None
    wrong = torch.zeros_like(one.latents, requires_grad=True)
    stage = Interpolation(Perfect(V, one.latents + 0.1 + wrong), V, text)
    stage.loss(one, torch.Generator().manual_seed(0)).value.backward()
    assert wrong.grad is not None
    for row in wrong.grad.abs():
        assert row.amin() > 0
        assert row.amax() < 1.01 * row.amin()


def test_captions_are_dropped_and_key_frames_are_not(stage: Interpolation) -> None:
    many = Batch(captions=("a red star",) * 400, latents=latents(400, 4, 5, 2, 2))
    dropping = Interpolation(stage.network, V, stage.text, text_dropout=0.3)
    condition = dropping.condition_for_training(many, torch.Generator().manual_seed(0))
    dropped = condition.text_mask.sum(dim=1) == 2
    assert 0.22 < float(dropped.float().mean()) < 0.38
    assert many.latents is not None
    assert torch.equal(condition.beside["keys"], many.latents[:, :, ::4])


def test_the_network_is_trained_whole_and_the_text_encoder_is_not(stage: Interpolation) -> None:
    stage.loss(batch(), torch.Generator().manual_seed(0)).value.backward()
    assert all(parameter.grad is None for parameter in stage.text.model.parameters())
    assert all(parameter.grad is not None for parameter in stage.network.parameters())
    stage.network.zero_grad(set_to_none=True)


@pytest.mark.slow
def test_training_makes_the_prediction_depend_on_the_key_frames(text: TextEncoder) -> None:
    """Clips of one plain tone each: at full noise only the key frames say which."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = VideoUNet(
            in_channels=1,
            out_channels=1,
            block_out_channels=(8,),
            layers_per_block=1,
            attention_levels=(True,),
            num_attention_heads=2,
            cross_attention_dim=32,
            norm_num_groups=4,
        )
    stage = Interpolation(widen(base, in_channels=2), V, text, factor=2)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(stage.network.parameters(), lr=1e-2)

    def clips() -> Tensor:
        """Two key frames and what lies between, each of its own tone, 1 C 3 h w."""
        ends = torch.randn(8, 1, 2, 1, 1, generator=generator)
        middle = ends.mean(dim=2, keepdim=True)
        frames = torch.cat([ends[:, :, :1], middle, ends[:, :, 1:]], dim=2)
        return frames.expand(8, 1, 3, 2, 2)

    for _ in range(100):
        told = Batch(captions=("a star",) * 8, latents=clips())
        stage.loss(told, generator).value.backward()
        optimizer.step()
        optimizer.zero_grad()

    clean = clips()
    noise, time = latents(*clean.shape), torch.full((8,), 999.0)
    noisy, target = V.add_noise(clean, noise, time), V.target(clean, noise, time)
    errors = []
    with torch.no_grad():
        for order in ([0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]):
            keys = clean[order][:, :, ::2]
            told = stage.knowing(stage.describe(["a star"] * 8), keys)
            errors.append(float((stage.predict(noisy, time, told) - target).square().mean()))
        there, back = (
            stage.predict(noisy, time, stage.knowing(told, clean[:, :, [first, last]]))
            for first, last in ((0, 2), (2, 0))
        )
    right, shuffled = errors
    assert right < 0.3 * shuffled
    # The order of the key frames of one clip matters as well, and not to its middle alone.
    assert (there - back).square().mean() > 0.1


@pytest.mark.slow
def test_61_frames_depend_on_their_seed_and_not_on_their_batch(stage: Interpolation) -> None:
    def draw(rows: list[int], seeds: list[int]) -> Tensor:
        prompts = [["a red star", "a blue circle"][row] for row in rows]
        return stage.sample(
            stage.knowing(stage.describe(prompts), latents(2, 4, 16, 4, 6)[rows]),
            (4, 61, 4, 6),
            scheduler=V.scheduler(),
            steps=3,
            guidance=TextGuidance(2.0),
            generators=[torch.Generator().manual_seed(seed) for seed in seeds],
        )

    together, alone = draw([0, 1], [1, 2]), draw([1], [2])
    assert together.shape == (2, 4, 61, 4, 6)
    torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(draw([1], [3]), alone, atol=1e-2)
    assert not torch.allclose(draw([0], [2]), alone, atol=1e-2)


def test_guidance_leads_away_from_no_text_and_not_from_no_key_frames(stage: Interpolation) -> None:
    told = stage.knowing(stage.describe(["a red star"]), latents(1, 4, 2, 4, 6))
    for branch in TextGuidance(4.0).branches(told):
        assert torch.equal(branch.beside["keys"], told.beside["keys"])


def test_what_does_not_fit_is_refused(stage: Interpolation) -> None:
    told = stage.knowing(stage.describe(["a red star"]), latents(1, 4, 16, 4, 6))
    with pytest.raises(RequestError, match=r"60 frames .* of 16 key frames: .* span 61"):
        stage.sample(
            told,
            (4, 60, 4, 6),
            scheduler=V.scheduler(),
            steps=1,
            guidance=Unguided(),
            generators=[torch.Generator()],
        )
    with pytest.raises(RequestError, match="6 frames cannot be made of 2 key frames"):
        stage.loss(batch(6), torch.Generator())
    with pytest.raises(RequestError, match="factor=1 puts no frame between"):
        Interpolation(stage.network, V, stage.text, factor=1)


def fill(stage: Interpolation, keys: Tensor, *, window: int, overlap: int) -> Tensor:
    parts = stage.fill(
        stage.knowing(stage.describe(["a red star"] * len(keys)), keys),
        window=window,
        overlap=overlap,
        tiles=Tiles(height=64, width=64, overlap=0),
        scheduler=V.scheduler(),
        steps=3,
        guidance=Unguided(),
        generators=[torch.Generator().manual_seed(seed) for seed in range(len(keys))],
    )
    return torch.cat(list(parts), dim=2)


def test_one_window_is_the_whole_video_at_once(stage: Interpolation) -> None:
    keys = latents(2, 4, 5, 4, 6)
    at_once = stage.sample(
        stage.knowing(stage.describe(["a red star"] * 2), keys),
        (4, 17, 4, 6),
        scheduler=V.scheduler(),
        steps=3,
        guidance=Unguided(),
        generators=[torch.Generator().manual_seed(seed) for seed in range(2)],
    )
    assert torch.equal(fill(stage, keys, window=5, overlap=2), at_once)


@pytest.mark.slow
@pytest.mark.parametrize(("num_keys", "frames"), [(1, 1), (4, 13), (7, 25), (9, 33)])
def test_any_number_of_key_frames_is_filled_in(
    stage: Interpolation, num_keys: int, frames: int
) -> None:
    keys = latents(2, 4, num_keys, 4, 6)
    assert fill(stage, keys, window=4, overlap=2).shape == (2, 4, frames, 4, 6)


@pytest.mark.slow
def test_later_windows_change_nothing_before_them_and_begin_in_it(stage: Interpolation) -> None:
    keys = latents(1, 4, 6, 4, 6)  # windows of keys 0 to 3 and 2 to 5, which share frames 8 to 12
    video = fill(stage, keys, window=4, overlap=2)
    later = keys.clone()
    later[:, :, 4:] += 1
    assert torch.equal(fill(stage, later, window=4, overlap=2)[:, :, :13], video[:, :, :13])
    assert not torch.allclose(
        fill(stage, later, window=4, overlap=2)[:, :, 13:], video[:, :, 13:], atol=1e-3
    )
    # Key frames 0 and 1 are of the first window alone: only what it made can carry them further.
    early = keys.clone()
    early[:, :, :2] += 1
    assert not torch.equal(fill(stage, early, window=4, overlap=2)[:, :, 13:], video[:, :, 13:])
    with pytest.raises(RequestError, match="share no key frame would leave out"):
        fill(stage, keys, window=3, overlap=0)


@pytest.mark.slow
def test_half_of_the_training_clips_begin_with_known_frames(text: TextEncoder) -> None:
    stage = Interpolation(nn.Identity(), V, text, most_known=3)
    generator = torch.Generator().manual_seed(0)
    known = torch.stack(
        [
            stage.condition_for_training(batch(), generator).frame_mask.sum(dim=1)  # type: ignore[union-attr]
            for _ in range(200)
        ]
    ).flatten()
    counts = torch.bincount(known, minlength=4) / len(known)
    assert len(counts) == 4
    torch.testing.assert_close(
        counts, torch.tensor([1 / 2, 1 / 6, 1 / 6, 1 / 6]), atol=0.07, rtol=0
    )
    never = Interpolation(nn.Identity(), V, text)
    assert never.condition_for_training(batch(), generator).frame_mask is None
