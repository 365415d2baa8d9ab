"""Published weights become folders that `load` reads: every key lands, or it is named."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from mutoscope.diffusion.denoise import denoise
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import VariancePreserving, process_from
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import ModelError, RequestError
from mutoscope.nn.temporal import is_temporal
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.interpolation import Interpolation
from mutoscope.stages.super_resolution import SuperResolution
from mutoscope.systems import convert
from mutoscope.systems.convert import convert_lavie, start_from_images
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import load
from mutoscope.systems.weight_files import read_weights
from mutoscope.systems.weights import image_arguments, lavie_weights
from mutoscope.types import Size
from tests.parity import released
from tests.parity.test_lavie import ARGUMENTS as FULL_SIZE
from tests.systems import published

COMPONENTS = {"base": "base", "interpolation": "interpolator", "super_resolution": "upscaler"}
NAMES = pytest.mark.parametrize("name", COMPONENTS)


@pytest.fixture(scope="module")
def converted(converted_folder: Path) -> LaVie:
    system = load(converted_folder)
    assert isinstance(system, LaVie)
    return system


@pytest.mark.slow
@NAMES
def test_every_weight_comes_back(converted: LaVie, name: str) -> None:
    wanted, found = published.network(name), getattr(converted, COMPONENTS[name])
    for argument in published.ARGUMENTS[name]:
        assert found.config[argument] == convert_lists(wanted.config[argument]), argument
    assert_same(found.state_dict(), wanted.state_dict())


@pytest.mark.parametrize("folder", ["sd", "x4"])
def test_text_encoders_tokenizers_and_autoencoders_come_along(
    converted: LaVie, tmp_path: Path, folder: str
) -> None:
    wanted = published.write_folder(tmp_path, folder)
    prefix = "" if folder == "sd" else "upscaler_"
    for name in ("vae", "text_encoder"):
        found = getattr(converted, prefix + name)
        assert_same(found.state_dict(), wanted[name].state_dict())
    tokenizer = getattr(converted, f"{prefix}tokenizer")
    words = ["<|startoftext|>", "c</w>", "at</w>", "<|endoftext|>"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("C at")["input_ids"]) == words


@pytest.mark.slow
def test_diffusers_reads_the_old_names_the_same_way(
    converted: LaVie, published_files: Path
) -> None:
    theirs = AutoencoderKL.from_pretrained(published_files / "sd" / "vae", use_safetensors=False)
    assert_same(converted.vae.state_dict(), theirs.state_dict())


def test_scales_of_latents_are_those_of_the_image_models(converted: LaVie) -> None:
    # Their configurations do not have them: the first is diffusers' default, the second is not.
    assert converted.vae.config.scaling_factor == 0.18215
    assert converted.upscaler_vae.config.scaling_factor == 0.08333


def test_schedules_are_those_that_the_release_samples_with(converted: LaVie) -> None:
    assert process_from(converted.scheduler) == VariancePreserving("linear", "epsilon")
    assert process_from(converted.interpolator_scheduler) == VariancePreserving("linear", "epsilon")
    assert process_from(converted.upscaler_scheduler) == VariancePreserving("linear", "v")
    times = {}
    for name in ("scheduler", "interpolator_scheduler", "upscaler_scheduler"):
        scheduler = getattr(converted, name)
        scheduler.set_timesteps(50)
        times[name] = scheduler.timesteps.tolist()
    assert times["scheduler"] == list(range(980, -1, -20))
    assert times["upscaler_scheduler"] == list(range(981, 0, -20))
    # The release rounds these to whole times.
    grid = [999 * k / 49 for k in range(49, -1, -1)]
    assert times["interpolator_scheduler"] == pytest.approx(grid, abs=1e-3)
    low = process_from(converted.upscaler_low_scheduler)
    betas = torch.linspace(1e-4**0.5, 0.02**0.5, 1000) ** 2
    assert isinstance(low, VariancePreserving)
    assert torch.allclose(torch.tensor(low.betas), betas)


def test_what_the_release_tells_each_stage_is_recorded(converted: LaVie) -> None:
    config, whole = converted.config, converted.stages
    away = {"interpolate": "None", "upscale": "blur, worst quality"}
    assert (config.negative_prompts, config.suffixes) == (away, {"interpolate": ", 4k."})
    steps = [config[name] for name in ("steps", "interpolation_steps", "upscale_steps")]
    assert steps == [50, 50, 50]
    scales = [f"{name}guidance_scale" for name in ("", "interpolation_", "upscale_")]
    assert [config[name] for name in scales] == [7.5, 4.0, 5.0]
    assert (config.noise_level, config.upscale_num_frames, config.upscale_overlap) == (50, 8, 0)
    assert (converted.native_num_frames(whole), converted.native_size) == (61, Size(320, 512))
    assert [converted.native_fps(whole[:count]) for count in (1, 2, 3)] == [8.0, 24.0, 24.0]
    small = np.zeros((1, 16, 24, 3), dtype=np.uint8)
    with pytest.raises(RequestError, match=r"noise level 351 .* to 350 "):
        converted.upscale(small, fps=8.0, noise_level=351)


def told_text(states: Tensor, *, null: int) -> dict[str, Tensor]:
    """The text of a condition, of two rows of which one stands for none."""
    mask = torch.ones(1, states.shape[1], dtype=torch.bool)
    text, null_text = states[1 - null : 2 - null], states[null : null + 1]
    return {"text": text, "text_mask": mask, "null_text": null_text, "null_mask": mask}


@pytest.mark.slow
def test_the_interpolations_schedule_leads_to_the_released_result(converted: LaVie) -> None:
    network = released.network("interpolation")
    network.load_state_dict(lavie_weights(released.weights("interpolation"), network))
    given, text = released.tensors("loops"), released.inputs("interpolation")
    condition = Condition(
        **told_text(text["encoder_hidden_states"], null=1),
        beside={"keys": given["interpolation.keys"]},
    )
    stage = Interpolation(
        network,
        process_from(converted.interpolator_scheduler),
        TextEncoder(converted.text_encoder, converted.tokenizer),
    )
    found = denoise(
        stage.predict,
        given["interpolation.noise"],
        scheduler=converted.interpolator_scheduler,
        steps=5,
        condition=condition,
        guidance=TextGuidance(4.0),
        generator=[torch.Generator()],
    )
    wanted = given["interpolation.out"]
    # At 5 steps times are rounded by up to half of one, which here, unlike there, they are not.
    assert (found - wanted).abs().max() < 2e-3 * wanted.std()


def test_the_upscalers_schedule_leads_to_the_released_result(converted: LaVie) -> None:
    network = released.network("super_resolution")
    network.load_state_dict(lavie_weights(released.weights("super_resolution"), network))
    given, text = released.tensors("super_resolution"), released.inputs("super_resolution")
    condition = Condition(
        **told_text(text["encoder_hidden_states"], null=0),
        beside={"low": given["in.low_res"][:1]},
        noise_level=given["in.class_labels"][:1],
    )
    stage = SuperResolution(
        network,
        process_from(converted.upscaler_scheduler),
        TextEncoder(converted.upscaler_text_encoder, converted.upscaler_tokenizer),
    )
    found = denoise(
        stage.predict,
        given["in.sample"][:1],
        scheduler=converted.upscaler_scheduler,
        steps=4,
        condition=condition,
        guidance=TextGuidance(5.0),
        generator=[torch.Generator()],
    )
    wanted = released.tensors("loops")["super_resolution.out"]
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)


@pytest.mark.slow
def test_it_makes_a_video_of_all_stages(converted_folder: Path) -> None:
    system = load(converted_folder)
    system.register_to_config(interpolation_steps=2, upscale_steps=2)
    assert system.stages == ("base", "interpolate", "upscale")
    video = system("a cat", size=Size(64, 96), num_frames=5, steps=2)
    assert video.frames.shape == (1, 5, 64, 96, 3)
    other = system("a dog", size=Size(64, 96), num_frames=5, steps=2)
    assert not np.array_equal(video.frames, other.frames)


@pytest.mark.slow
def test_the_upscaler_has_a_text_encoder_and_a_noise_law_of_its_own(converted_folder: Path) -> None:
    system = load(converted_folder)
    system.register_to_config(upscale_steps=1)
    small = np.random.default_rng(0).integers(0, 255, (1, 16, 24, 3), dtype=np.uint8)

    def large() -> np.ndarray:
        return system.upscale(small, "a cat", fps=8.0, noise_level=350).frames

    before = large()
    other = system.text_encoder
    system.register_modules(text_encoder=None, tokenizer=None)
    assert np.array_equal(large(), before)
    own, law = system.upscaler_text_encoder, system.upscaler_low_scheduler
    system.register_modules(upscaler_low_scheduler=None)
    assert not np.array_equal(large(), before)
    published.filled(other, seed=5)
    system.register_modules(upscaler_low_scheduler=law, upscaler_text_encoder=other)
    assert not np.array_equal(large(), before)
    system.register_modules(upscaler_text_encoder=own)
    assert np.array_equal(large(), before)


@pytest.mark.slow
@pytest.mark.parametrize("stages", [["base"], ["interpolation"], ["upscale"]])
def test_each_network_alone_is_a_model(
    published_files: Path, tmp_path: Path, stages: list[str]
) -> None:
    needs = {"upscale": "x4"}
    files = {
        "base": "base.pt",
        "interpolation": "interpolation.pt",
        "upscale": "super_resolution.pt",
    }
    told = {name: published_files / files[name] for name in stages}
    told |= {folder: published_files / folder for folder in {needs.get(n, "sd") for n in stages}}
    convert_lavie(tmp_path / "out", **told)
    system = load(tmp_path / "out")
    assert system.stages == tuple(n.replace("interpolation", "interpolate") for n in stages)
    if "base" not in stages:
        with pytest.raises(RequestError, match="a prompt alone cannot become a video"):
            system("a cat")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing is to be converted"),
        ({"sd": Path("sd"), "x4": Path("x4")}, "nothing is to be converted"),
        ({"base": Path("b.pt"), "x4": Path("x4")}, "cannot be converted without sd"),
        ({"interpolation": Path("i.pt")}, "cannot be converted without sd"),
        ({"upscale": Path("u.pt"), "sd": Path("sd")}, "cannot be converted without x4"),
    ],
)
def test_what_is_needed_is_said(given: dict[str, Path], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        convert_lavie(Path("out"), **given)


def missing(state: dict[str, Tensor], key: str) -> None:
    del state[key]


def extra(state: dict[str, Tensor], key: str) -> None:
    state[f"{key}.stray"] = state[key]


def another_shape(state: dict[str, Tensor], key: str) -> None:
    state[key] = state[key][..., None][0] if state[key].ndim == 1 else state[key][:-1]


@pytest.fixture(scope="module")
def full_size_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that say the shapes of the image models; networks are checked before the rest."""
    folder = tmp_path_factory.mktemp("full")
    for name, config in (("sd", published.SD14), ("x4", published.X4)):
        published.write_json(folder / name / "unet" / "config.json", config)
    return {name: folder / name for name in ("sd", "x4")}


@pytest.mark.slow
@NAMES
@pytest.mark.parametrize(
    ("change", "words"),
    [(missing, "KEY is missing"), (extra, "KEY.stray is unknown"), (another_shape, "KEY is .* be")],
)
def test_at_full_size_a_key_that_does_not_fit_is_named(
    full_size_folders: dict[str, Path],
    tmp_path: Path,
    name: str,
    change: Callable[[dict[str, Tensor], str], None],
    words: str,
) -> None:
    state = published.full_size_state(name)
    # In a layer over time, where the release's names are not ours.
    key = [key for key in state if "_temp" in key and key.endswith("to_q.weight")][-1]
    change(state, key)
    torch.save({"ema": state}, tmp_path / "w.pt")
    assert (tmp_path / "w.pt").stat().st_size < 2_000_000
    told = {"super_resolution": "upscale"}.get(name, name)
    with pytest.raises(ModelError, match=words.replace("KEY", key.replace(".", r"\."))):
        convert_lavie(tmp_path / "out", **{told: tmp_path / "w.pt"}, **full_size_folders)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


@NAMES
def test_at_full_size_every_key_of_a_file_lands(tmp_path: Path, name: str) -> None:
    state = published.full_size_state(name)
    torch.save(state, tmp_path / "w.pt")
    with torch.device("meta"):
        network = VideoUNet(**FULL_SIZE[name])
    found = lavie_weights(read_weights(tmp_path / "w.pt"), network)
    wanted = network.state_dict()
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in wanted.items()}
    # Each value is the number of the key that it comes from, and each key but RoPE's is used once.
    numbers = sorted(int(tensor.flatten()[0]) for tensor in found.values())
    assert numbers == [n for n, key in enumerate(state) if not key.endswith("freqs")]


@pytest.mark.parametrize(
    ("config", "network", "folder"),
    [
        (published.SD14, "base", "sd"),
        (published.SD14, "interpolation", "sd"),
        (published.X4, "super_resolution", "x4"),
    ],
)
def test_configurations_of_the_image_models_are_those_of_the_release(
    config: dict[str, object], network: str, folder: str
) -> None:
    wider = {"in_channels": 8} if network == "interpolation" else {}
    with torch.device("meta"):
        ours = VideoUNet(**{**FULL_SIZE[network], **image_arguments(config), **wider})
        theirs = VideoUNet(**FULL_SIZE[network])
    assert {n: t.shape for n, t in ours.state_dict().items()} == {
        n: t.shape for n, t in theirs.state_dict().items()
    }
    names = ("num_attention_heads", "norm_num_groups", "rotary_dim", "group_norm_over")
    assert [ours.config[name] for name in names] == [theirs.config[name] for name in names]


@pytest.mark.parametrize(
    "change",
    [
        {"act_fn": "gelu"},
        {"norm_eps": 1e-6},
        {"addition_embed_type": "text"},
        {"unheard_of": 1},
        {"down_block_types": ["SimpleCrossAttnDownBlock2D"] * 4},
        {"up_block_types": ["UpBlock2D"] * 4},
    ],
)
def test_other_image_networks_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=f"{next(iter(change))}=.* has no counterpart in time"):
        image_arguments(published.SD14 | change)


@pytest.mark.slow
def test_weights_are_written_in_parts_and_read_back(
    published_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "_PART", "2MB")
    told = {"base": published_files / "base.pt", "sd": published_files / "sd"}
    seen: dict[str, int] = {}
    convert_lavie(tmp_path / "out", **told, on_component=seen.__setitem__)
    parts = sorted((tmp_path / "out" / "base").glob("*.safetensors"))
    assert len(parts) >= 4
    assert all(part.stat().st_size < 2_100_000 for part in parts)
    wanted = published.network("base").state_dict()
    assert_same({n: t for part in parts for n, t in load_file(part).items()}, wanted)
    assert_same(load(tmp_path / "out").base.state_dict(), wanted)
    assert list(seen) == ["base", "text_encoder", "vae"]
    assert seen["base"] == sum(tensor.numel() for tensor in wanted.values())


# Prints by how many bytes the most memory that the process ever had grows while it writes a file.
WATCHED = """
import sys, torch
from pathlib import Path
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems import convert
from mutoscope.systems.weight_files import read_weights

with torch.device("meta"):
    network = VideoUNet(block_out_channels=(128, 256, 256, 256))
weights = convert._Weights(network, lambda: read_weights(Path(sys.argv[1])))
convert._PART = sys.argv[3]

def most():
    # Not `getrusage`, which counts what the parent process had.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = most()
convert._save(weights, Path(sys.argv[2]))
print(1024 * (most() - before))
"""


@pytest.mark.long
@pytest.mark.slow
def test_no_more_than_a_part_is_ever_in_memory(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = VideoUNet(block_out_channels=(128, 256, 256, 256))
    weights = {name: torch.ones(tensor.shape) for name, tensor in network.state_dict().items()}
    path = tmp_path / "w.pt"
    torch.save(weights, path)
    grown = {}
    for part in ("8MB", "1GB"):
        arguments = [str(path), str(tmp_path / part), part]
        result = subprocess.run(
            [sys.executable, "-c", WATCHED, *arguments], capture_output=True, text=True, check=True
        )
        grown[part] = int(result.stdout) / path.stat().st_size
    assert grown["8MB"] < 0.5
    assert grown["1GB"] > 0.8  # so the measurement would see it


@pytest.mark.slow
def test_half_precision_and_any_order_in_memory_are_kept(
    published_files: Path, tmp_path: Path
) -> None:
    state = {
        name: tensor.half().to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for name, tensor in published.state("base").items()
    }
    torch.save(state, tmp_path / "w.pt")
    convert_lavie(tmp_path / "out", base=tmp_path / "w.pt", sd=published_files / "sd")
    (file,) = (tmp_path / "out" / "base").glob("*.safetensors")
    stored = load_file(file)
    assert torch.equal(stored["conv_in.weight"], state["conv_in.weight"])
    assert stored["conv_in.weight"].dtype == torch.float16
    assert stored["conv_in.bias"].dtype == torch.float32


@pytest.fixture
def sd(published_files: Path, tmp_path: Path) -> Path:
    """A private copy of the folder of Stable Diffusion, to be damaged."""
    return Path(shutil.copytree(published_files / "sd", tmp_path / "sd"))


def change_weights(name: str, change: Callable[[dict[str, Tensor]], object]) -> Callable[..., None]:
    def damage(folder: Path) -> None:
        weights = torch.load(folder / name)
        change(weights)
        torch.save(weights, folder / name)

    return damage


def remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (shutil.rmtree if (folder / name).is_dir() else Path.unlink)(folder / name)

    return damage


VAE, TEXT = "vae/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"
LAST = "text_model.final_layer_norm.bias"
OLD = "encoder.mid_block.attentions.0.query.weight"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove("unet/config.json"), r"unet.config\.json is not there"),
        (remove("vae"), r"vae.config\.json is not there"),
        (remove("tokenizer"), "tokenizer is not there"),
        (remove(VAE), r"holds no weights: they lie in .*diffusion_pytorch_model\.bin"),
        (change_weights(VAE, lambda w: w.pop(OLD)), r"attentions\.0\.to_q\.weight is missing"),
        (change_weights(VAE, lambda w: w.update(odd=w[OLD])), "odd is unknown"),
        (change_weights(TEXT, lambda w: w.pop(LAST)), r"norm\.bias is missing"),
        (lambda folder: (folder / VAE).write_bytes(b"PK"), "is not whole"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "cannot be loaded"),
    ],
)
def test_a_damaged_image_model_is_one_line_and_leaves_nothing(
    published_files: Path, sd: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(sd)
    with pytest.raises(ModelError, match=words) as caught:
        convert_lavie(sd.parent / "out", base=published_files / "base.pt", sd=sd)
    assert "\n" not in str(caught.value)
    assert list(sd.parent.iterdir()) == [sd]


@pytest.mark.slow
def test_a_start_from_a_damaged_network_or_schedule_is_refused(sd: Path) -> None:
    path = sd / "scheduler" / "scheduler_config.json"
    schedule = json.loads(path.read_text())
    path.write_text(json.dumps(schedule | {"_class_name": "os"}))
    with pytest.raises(ModelError, match="not the configuration of a scheduler"):
        start_from_images(sd.parent / "out", sd=sd)
    change_weights("unet/diffusion_pytorch_model.bin", lambda w: w.pop("conv_in.bias"))(sd)
    with pytest.raises(ModelError, match=r"cannot be inflated .* conv_in\.bias is missing"):
        start_from_images(sd.parent / "out", sd=sd)


@pytest.mark.slow
def test_what_is_in_the_way_is_not_written_over(published_files: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RequestError, match="a folder of that name is in the way"):
        start_from_images(tmp_path / "out", sd=published_files / "sd")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture(scope="module", params=["sd", "x4"])
def start(
    request: pytest.FixtureRequest, published_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LaVie, VideoUNet, Path]:
    out = tmp_path_factory.mktemp("start") / request.param
    folder = published_files / request.param
    start_from_images(out, **{request.param: folder})
    system = load(out)
    assert isinstance(system, LaVie)
    return system, {"sd": system.base, "x4": system.upscaler}[request.param], folder


@pytest.mark.slow
@torch.no_grad()
def test_a_start_draws_each_frame_as_the_image_model_does(
    start: tuple[LaVie, VideoUNet, Path],
) -> None:
    _, network, folder = start
    image = UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=False).eval()
    # In double precision, because groups of one channel and few places magnify rounding.
    image, network = image.double(), copy.deepcopy(network).double()
    generator = torch.Generator().manual_seed(0)
    channels = network.config["in_channels"]
    sample = torch.randn(2, channels, 3, 8, 16, generator=generator).double()
    text = torch.randn(2, 5, 16, generator=generator).double()
    time = torch.tensor([3.0, 900.0])
    told = (
        {} if network.config["num_noise_levels"] is None else {"noise_level": torch.tensor([1, 9])}
    )
    video = network(sample, time, text, **told)
    for frame in range(3):
        wanted = image(sample[:, :, frame], time, text, class_labels=told.get("noise_level")).sample
        torch.testing.assert_close(video[:, :, frame], wanted, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_time_layers_of_a_start_can_learn(start: tuple[LaVie, VideoUNet, Path]) -> None:
    """They are the identity because the last of their layers are zero, not because all are."""
    _, network, _ = start
    zero = {name for name, tensor in network.state_dict().items() if not tensor.any()}
    assert all(is_temporal(name) for name in zero)
    assert any(name.endswith("attn_temp.to_out.0.weight") for name in zero)
    for name, tensor in network.state_dict().items():
        if name.endswith(("attn_temp.to_q.weight", "conv1.weight")):
            assert tensor.std() > 0.01, name


@pytest.mark.slow
def test_a_start_records_the_schedule_of_the_image_model(
    start: tuple[LaVie, VideoUNet, Path],
) -> None:
    system, _, folder = start
    if folder.name == "sd":
        assert system.stages == ("base",)
        assert process_from(system.scheduler) == VariancePreserving("scaled_linear", "epsilon")
        return
    assert system.stages == ("upscale",)
    betas = torch.linspace(1e-4**0.5, 0.02**0.5, 1000) ** 2
    for name, prediction in (("upscaler_scheduler", "v"), ("upscaler_low_scheduler", "epsilon")):
        law = process_from(getattr(system, name))
        assert isinstance(law, VariancePreserving)
        assert law.prediction == prediction
        assert torch.allclose(torch.tensor(law.betas), betas)


@pytest.mark.slow
def test_a_start_is_the_same_each_time_and_draws_from_nothing_global(
    published_files: Path, tmp_path: Path
) -> None:
    states = []
    for name in ("first", "second"):
        before = torch.get_rng_state()
        start_from_images(tmp_path / name, sd=published_files / "sd")
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        (file,) = (tmp_path / name / "base").glob("*.safetensors")
        states.append(load_file(file))
    assert_same(*states)


def test_nothing_to_start_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Give sd, x4, or both"):
        start_from_images(tmp_path / "out")


@pytest.mark.slow
@NAMES
@torch.no_grad()
def test_a_converted_network_computes_what_the_released_one_does(
    published_files: Path, tmp_path: Path, name: str
) -> None:
    """Weights and outputs are of the released classes themselves, at the size of the fixtures."""
    facts = released.facts(name)["config"]
    config = {
        key: [each.replace("3D", "2D") for each in value] if key.endswith("block_types") else value
        for key, value in facts.items()
        if key in published.X4 and key != "_class_name"
    }
    if name == "interpolation":
        config["in_channels"] //= 2
    folder = {"super_resolution": "x4"}.get(name, "sd")
    images = Path(shutil.copytree(published_files / folder, tmp_path / folder))
    published.write_json(images / "unet" / "config.json", config)
    torch.save(released.weights(name), tmp_path / "w.pt")
    told = {"super_resolution": "upscale"}.get(name, name)
    convert_lavie(tmp_path / "out", **{told: tmp_path / "w.pt", folder: images})
    network = getattr(load(tmp_path / "out"), COMPONENTS[name])
    wanted = released.tensors(name)["out.sample"]
    torch.testing.assert_close(network(**released.inputs(name)), wanted, atol=3e-5, rtol=0)


def convert_lists(value: object) -> object:
    """Tuples as JSON has them."""
    return list(value) if isinstance(value, tuple) else value


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
