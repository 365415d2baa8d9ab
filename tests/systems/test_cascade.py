"""LaVie's stages one after the other: what each gets, and that stopping between them is free."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.detail import bicubic, shrunk
from mutoscope.errors import MutoscopeError, RequestError
from mutoscope.nn.attention import TextAttention
from mutoscope.stages.text_stage import TextStage
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import load
from mutoscope.types import Latents, Size
from mutoscope.video.frames import to_bytes, to_floats
from tests.tiny import build_tiny_system

PROMPT = "a red star drifts left"
TWO = ("base", "interpolate")


def recorded(system: LaVie, **changes: object) -> LaVie:
    """The same networks, with other things recorded of how they are used."""
    names = "num_frames height width steps guidance_scale interpolation_steps upscale_steps"
    kept = {name: system.config[name] for name in names.split()}
    return LaVie(**system.components, **kept, **changes)


def latents(system: LaVie, **request: object) -> Latents:
    found = system(PROMPT, output_type="latent", **{"stages": TWO} | request).frames
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.slow
def test_all_stages_run_by_default(tiny_cascade: LaVie) -> None:
    seen: list[tuple[str, int]] = []
    video = tiny_cascade(PROMPT, on_stage=lambda name, drawn: seen.append((name, drawn.shape[2])))
    assert video.frames.shape == (1, 13, 32, 48, 3)
    assert video.fps == 32.0
    assert seen == [("base", 4), ("interpolate", 13)]
    assert video.frames.std() > 1


@pytest.mark.slow
def test_the_first_stages_alone(tiny_cascade: LaVie, tiny_system: LaVie) -> None:
    alone = tiny_cascade(PROMPT, stages=["base"])
    assert alone.fps == 8.0
    assert np.array_equal(alone.frames, tiny_system(PROMPT).frames)
    two = tiny_cascade(PROMPT, stages=TWO)
    assert (two.frames.shape, two.fps) == ((1, 13, 16, 24, 3), 32.0)


@pytest.mark.slow
def test_stopping_between_stages_changes_nothing(tiny_cascade: LaVie) -> None:
    whole = tiny_cascade(PROMPT, seeds=4).frames
    keys = latents(tiny_cascade, seeds=4, stages=["base"])
    every = latents(tiny_cascade, seeds=4)
    for resume in (("base", keys), ("interpolate", every)):
        assert np.array_equal(tiny_cascade(PROMPT, seeds=4, resume=resume).frames, whole)
        assert not np.array_equal(tiny_cascade(PROMPT, seeds=5, resume=resume).frames, whole)
        other = resume[0], resume[1] + 0.1
        assert not np.array_equal(tiny_cascade(PROMPT, seeds=4, resume=other).frames, whole)


@pytest.mark.slow
def test_noise_of_the_small_video_is_a_choice(tiny_cascade: LaVie) -> None:
    frames = [tiny_cascade(PROMPT, noise_level=level).frames for level in (0, 50, 99)]
    assert np.array_equal(frames[1], tiny_cascade(PROMPT).frames)
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[2], frames[1])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["negative_prompts", "suffixes"])
def test_each_stage_is_told_what_suits_it(tiny_cascade: LaVie, what: str) -> None:
    def made(system: LaVie, count: int, **request: object) -> np.ndarray:
        found = system(PROMPT, stages=system.stages[:count], num_frames=2, **request).frames
        assert isinstance(found, np.ndarray)
        return found

    for number, stage in enumerate(tiny_cascade.stages, start=1):
        system = recorded(tiny_cascade, **{what: {stage: " night"}})
        usual = made(tiny_cascade, number)
        assert not np.array_equal(made(system, number), usual)
        if number > 1:
            assert np.array_equal(made(system, number - 1), made(tiny_cascade, number - 1))
        if what == "negative_prompts":
            assert np.array_equal(made(system, number, negative_prompt=""), usual)


def test_what_is_recorded_of_an_unknown_stage_is_refused(tiny_cascade: LaVie) -> None:
    for what in ("negative_prompts", "suffixes"):
        with pytest.raises(RequestError, match="'upscaler' is not a stage"):
            recorded(tiny_cascade, **{what: {"upscaler": "blur"}})


@pytest.mark.slow
def test_videos_of_others_are_made_with_what_suits_a_stage(tiny_cascade: LaVie) -> None:
    small = np.random.default_rng(0).integers(0, 255, (2, 16, 24, 3), dtype=np.uint8)
    for stage, make in (("interpolate", LaVie.interpolate), ("upscale", LaVie.upscale)):
        for what in ("negative_prompts", "suffixes"):
            system = recorded(tiny_cascade, **{what: {stage: " night"}})
            usual = make(tiny_cascade, small, PROMPT, fps=8.0).frames
            assert not np.array_equal(make(system, small, PROMPT, fps=8.0).frames, usual)


@pytest.mark.slow
def test_what_a_later_stage_cannot_do_is_said_before_any_work(tiny_cascade: LaVie) -> None:
    def never(done: int, total: int, latents: torch.Tensor) -> None:
        raise AssertionError("work was done")

    long = recorded(tiny_cascade, suffixes={"upscale": " star" * 31})
    with pytest.raises(RequestError, match="at most 32"):
        long(PROMPT, on_step=never)
    assert long(PROMPT, stages=["base"]).frames.shape[1] == 4
    capped = recorded(tiny_cascade, most_noise=60)
    with pytest.raises(RequestError, match=r"noise level 61 cannot be used: .* to 60"):
        capped(PROMPT, noise_level=61, on_step=never)
    assert np.array_equal(capped(PROMPT).frames, tiny_cascade(PROMPT).frames)


def test_a_smooth_video_has_its_own_speed_if_that_is_recorded(tiny_cascade: LaVie) -> None:
    system = recorded(tiny_cascade, smooth_fps=24.0)
    assert [system.native_fps(system.stages[:count]) for count in (1, 2, 3)] == [8.0, 24.0, 24.0]
    assert system(PROMPT, stages=TWO, num_frames=2).fps == 24.0
    # A video of somebody else's keeps the speed of what it shows.
    small = np.zeros((2, 16, 24, 3), dtype=np.uint8)
    assert system.interpolate(small, fps=5.0).fps == 20.0


@pytest.mark.slow
def test_windows_of_an_upscaler_that_knows_no_finished_frames_are_strangers(
    tiny_cascade: LaVie,
) -> None:
    small = np.random.default_rng(0).integers(0, 255, (13, 16, 24, 3), dtype=np.uint8)
    begun = small.copy()
    begun[:8] = 0
    for overlap, strangers in ((0, True), (2, False)):
        system = recorded(tiny_cascade, upscale_overlap=overlap)
        one, other = (system.upscale(each, fps=8.0).frames[:, 8:] for each in (small, begun))
        assert np.array_equal(one, other) == strangers


@pytest.mark.slow
def test_the_finished_video_has_the_size_asked_for(tiny_cascade: LaVie) -> None:
    drawn: dict[str, Latents] = {}
    video = tiny_cascade(PROMPT, size=Size(40, 56), num_frames=2, on_stage=drawn.__setitem__)
    assert video.frames.shape == (1, 2, 40, 56, 3)
    assert drawn["base"].shape[-2:] == (10, 14)
    still = tiny_cascade(PROMPT, num_frames=1)
    assert still.frames.shape == (1, 1, 32, 48, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "keys"), [(1, 1), (2, 2), (5, 2), (6, 3), (13, 4), (30, 9)])
def test_as_many_key_frames_are_drawn_as_it_takes(
    tiny_cascade: LaVie, asked: int, keys: int
) -> None:
    drawn: dict[str, Latents] = {}
    video = tiny_cascade(PROMPT, num_frames=asked, stages=TWO, on_stage=drawn.__setitem__)
    assert video.frames.shape[1] == asked
    assert drawn["base"].shape[2] == keys
    assert ("interpolate" in drawn) == (asked > 1)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"stages": ["interpolate"]}, "'interpolate' cannot be run.* base or base,interpolate or"),
        ({"stages": []}, "'' cannot be run"),
        ({"stages": ["base", "upscale"]}, "'base,upscale' cannot be run"),
        ({"num_frames": 53}, "1 .a still. to 52 frames and is at its best with 13"),
        ({"size": Size(34, 48)}, "multiples of 4 up to 128x192, and 32x48 is best"),
        ({"resume": ("base", torch.zeros(1, 4, 3, 8, 12)), "num_frames": 10}, "span 9. Use 9"),
        ({"resume": ("upscale", torch.zeros(1, 4, 3, 8, 12))}, "'upscale' cannot be gone on"),
        ({"output_type": "latent"}, "cannot be had of enlarged videos"),
        ({"noise_level": 100}, "noise level 100 cannot be used"),
    ],
)
def test_what_cannot_be_made_is_said(
    tiny_cascade: LaVie, request_: dict[str, object], words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        tiny_cascade(PROMPT, **request_)


def test_a_model_of_one_stage_says_what_it_has(tiny_system: LaVie) -> None:
    with pytest.raises(RequestError, match="this model runs base"):
        tiny_system(PROMPT, stages=TWO)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        (["base", "interpolator", "upscaler"], "a system without a network makes nothing"),
        (["vae"], "stage 'base' cannot work without vae: it needs scheduler, vae, text_encoder"),
        (["base", "interpolator_scheduler"], "'interpolate' cannot work without interpolator_sch"),
        (["base", "interpolator", "upscaler_vae"], "'upscale' cannot work without upscaler_vae"),
        (["base", "interpolator", "tokenizer"], "'upscale' cannot work without tokenizer"),
    ],
)
def test_a_network_without_what_it_works_with_is_refused(
    tiny_cascade: LaVie, left_out: list[str], words: str
) -> None:
    parts = {name: part for name, part in tiny_cascade.components.items() if name not in left_out}
    with pytest.raises(RequestError, match=words):
        LaVie(**parts)


@pytest.mark.slow
def test_without_the_first_network_it_makes_videos_of_videos(tiny_cascade: LaVie) -> None:
    parts = {name: part for name, part in tiny_cascade.components.items() if name != "base"}
    told = {name: tiny_cascade.config[name] for name in ("num_frames", "height", "width")}
    told |= {"interpolation_steps": 2, "upscale_steps": 2}
    system = LaVie(**parts, **told)
    assert system.stages == ("interpolate", "upscale")
    small = np.random.default_rng(0).integers(0, 255, (2, 16, 24, 3), dtype=np.uint8)
    for made in ("interpolate", "upscale"):
        found = getattr(system, made)(small, fps=8.0).frames
        assert np.array_equal(found, getattr(tiny_cascade, made)(small, fps=8.0).frames)
    with pytest.raises(RequestError, match="only those that interpolate and upscale"):
        system(PROMPT)


@pytest.mark.slow
def test_a_cascade_comes_back_whole(tiny_cascade: LaVie, cascade_folder: Path) -> None:
    loaded = load(cascade_folder)
    assert loaded.stages == ("base", "interpolate", "upscale")
    assert loaded.weights_hash() == tiny_cascade.weights_hash()
    assert np.array_equal(loaded(PROMPT).frames, tiny_cascade(PROMPT).frames)


@pytest.mark.slow
def test_any_video_can_be_enlarged(tiny_cascade: LaVie) -> None:
    small = tiny_cascade(PROMPT, stages=["base"], num_frames=13).frames[0][:, :15, :23]
    large = tiny_cascade.upscale(small, fps=5.0)
    assert (large.frames.shape, large.fps) == ((1, 13, 30, 46, 3), 5.0)
    assert not np.array_equal(tiny_cascade.upscale(small, fps=5.0, seed=1).frames, large.frames)
    assert not np.array_equal(tiny_cascade.upscale(small, "night", fps=5.0).frames, large.frames)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["interpolator", "upscaler"])
def test_a_network_that_breaks_down_makes_no_black_video(broken: str) -> None:
    system = build_tiny_system(cascade=True)
    with torch.no_grad():
        getattr(system, broken).conv_out.bias[0] = torch.nan
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 24, 3), np.uint8)
    enhance = system.interpolate if broken == "interpolator" else system.upscale
    with pytest.raises(MutoscopeError, match="hold values that are no numbers"):
        enhance(frames, fps=8.0)
    with pytest.raises(MutoscopeError, match="hold values that are no numbers"):
        system(PROMPT, num_frames=5)


@pytest.mark.slow
def test_enlarging_in_the_cascade_is_enlarging_its_frames(tiny_cascade: LaVie) -> None:
    small = tiny_cascade(PROMPT, stages=TWO, seeds=3).frames[0]
    large = tiny_cascade.upscale(small, PROMPT, fps=32.0, seed=3).frames
    assert np.array_equal(large, tiny_cascade(PROMPT, seeds=3).frames)


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_the_text_is_read_once_in_each_window_and_no_bit_changes(
    tiny_cascade: LaVie, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    usual = tiny_cascade.usual_cuts()
    cuts = replace(usual, stages={n: replace(cut, apart=apart) for n, cut in usual.stages.items()})
    reads: list[torch.nn.Module] = []
    read = TextAttention.read

    def counting(layer: TextAttention, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        reads.append(layer)
        return read(layer, states)

    monkeypatch.setattr(TextAttention, "read", counting)
    frames = tiny_cascade(PROMPT, num_frames=20, cuts=cuts).frames
    for network in (tiny_cascade.base, tiny_cascade.interpolator):
        layers = {each for each in network.modules() if isinstance(each, TextAttention)}
        of_it = [each for each in reads if each in layers]
        windows = 1 if network is tiny_cascade.base else 2
        assert len(of_it) == windows * (1 + apart) * len(layers)
    often = len(reads)
    monkeypatch.setattr(TextStage, "read_once", lambda self, condition: condition)
    assert np.array_equal(tiny_cascade(PROMPT, num_frames=20, cuts=cuts).frames, frames)
    assert len(reads) - often > often


def only_larger(system: LaVie, small: np.ndarray) -> torch.Tensor:
    """Small frames as they are decoded where the upscaler adds nothing."""
    codec, low = LatentCodec(system.upscaler_vae), to_floats(small)[None]
    with torch.inference_mode():
        video = codec.decode(codec.encode(bicubic(low, codec.spatial_factor)))
        off = low - shrunk(video, codec.spatial_factor)
        return video + bicubic(off, codec.spatial_factor)


@pytest.mark.slow
@pytest.mark.parametrize("window", [3, 5, 8])
def test_detail_is_added_to_the_small_frame_it_belongs_to(window: int) -> None:
    """Next to none of it leaves each frame as it was, only larger: no window is out of step."""
    system = build_tiny_system(cascade=True)
    system.register_to_config(upscale_detail=1e-6, upscale_num_frames=window)
    small = np.random.default_rng(0).integers(0, 256, (11, 16, 24, 3), np.uint8)
    output = system.upscale(small, "a red star drifts left", fps=8.0)
    assert isinstance(output.frames, np.ndarray)
    plain = only_larger(system, small)
    away = np.abs(output.frames[0].astype(int) - to_bytes(plain)[0].astype(int))
    assert away.max() <= 1
    system.register_to_config(upscale_detail=None)
    other = system.upscale(small, "a red star drifts left", fps=8.0).frames
    assert isinstance(other, np.ndarray)
    assert np.abs(other[0].astype(int) - to_bytes(plain)[0].astype(int)).max() > 50


@pytest.mark.slow
def test_detail_is_added_in_a_whole_cascade_too() -> None:
    system = build_tiny_system(cascade=True)
    system.register_to_config(upscale_detail=1e-6)
    asked = {"prompt": "a red star drifts left", "seeds": [3]}
    whole = system(**asked).frames[0]
    small = system(**asked, stages=("base", "interpolate")).frames[0]
    plain = only_larger(system, small)
    assert np.abs(whole.astype(int) - to_bytes(plain)[0].astype(int)).max() <= 1
