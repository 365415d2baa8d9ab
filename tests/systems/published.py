"""Files and folders as LaVie's authors and Stability AI publish them: every level and every name of
the full size, few channels, random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.weights import (
    LAVIE_BASE,
    LAVIE_INTERPOLATION,
    LAVIE_SUPER_RESOLUTION,
    image_arguments,
)
from tests.parity import released

State = dict[str, Tensor]

# `unet/config.json` of the two image models, without what is only told about their making.
SD14: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.2.2",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}
X4: dict[str, Any] = SD14 | {
    "block_out_channels": [256, 512, 512, 1024],
    "cross_attention_dim": 1024,
    "down_block_types": ["DownBlock2D", *["CrossAttnDownBlock2D"] * 3],
    "in_channels": 7,
    "num_class_embeds": 1000,
    "only_cross_attention": [True, True, True, False],
    "sample_size": 128,
    "up_block_types": [*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"],
    "use_linear_projection": True,
}
# RoPE of the released networks turns 32 channels of each head, so that a head has no fewer; and
# where their width changes from level to level it changes here, which takes weights of its own.
FEW: dict[str, Any] = {"attention_head_dim": 1, "cross_attention_dim": 16}
SMALL_SD14 = SD14 | FEW | {"block_out_channels": [32, 64, 32, 32]}
SMALL_X4 = X4 | FEW | {"block_out_channels": [32, 64, 64, 32]}
ARGUMENTS = {
    "base": {**LAVIE_BASE, **image_arguments(SMALL_SD14)},
    "interpolation": {**LAVIE_INTERPOLATION, **image_arguments(SMALL_SD14), "in_channels": 8},
    "super_resolution": {**LAVIE_SUPER_RESOLUTION, **image_arguments(SMALL_X4)},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "sd": {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "clip_sample": False,
    },
    "x4": {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "clip_sample": False,
    },
    "x4_low": {
        "_class_name": "DDPMScheduler",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
    },
}


def filled(module: nn.Module, seed: int) -> nn.Module:
    """The module with no weight at a special value, as in one that was trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.normal_(generator=generator)
            if parameter.ndim > 1:
                parameter *= parameter[0].numel() ** -0.5
            else:
                parameter *= 0.1
                parameter += float(name.endswith("weight"))
    return module.eval()


def network(name: str) -> VideoUNet:
    """One of LaVie's networks, small."""
    return filled(VideoUNet(**ARGUMENTS[name]), seed=len(name))


def state(name: str) -> State:
    """The state dict that LaVie's authors would publish of `network(name)`."""
    shapes = released.full_size(name)
    result = {}
    for ours, tensor in network(name).state_dict().items():
        theirs = ours.replace("relative_position_bias", "time_rel_pos_bias.relative_attention_bias")
        if name == "super_resolution":
            for level in ("down", "up"):
                for number in range(4):
                    theirs = theirs.replace(
                        f"{level}_blocks.{number}.temporal_module",
                        f"{level}_temporal_blocks.{number}",
                    )
            theirs = theirs.replace("mid_block.temporal_module", "mid_temporal_block")
            if "temporal_block" in theirs:
                theirs = theirs.replace("proj_out", "shift_conv")
            theirs = theirs.replace("temporal_res_block", "resblocks_3d_t")
            theirs = theirs.replace("spatial_res_block", "resblocks_3d_s")
            theirs = theirs.replace("conv_temp.", "resblock_temporal.")
            theirs = theirs.replace("attn_temp.", "attn_temporal.")
            theirs = theirs.replace("norm_temp.", "norm_temporal.")
        result[theirs] = tensor[..., None] if len(shapes[theirs]) == 5 else tensor
    result |= {key: frequencies() for key in shapes if key.endswith("freqs")}
    assert result.keys() == shapes.keys()  # so these are all names of the full size
    return result


def full_size_state(name: str) -> State:
    """Every tensor of a published file in its full size, all values of one the same number: such a
    file is small, because torch stores that number once."""
    return {
        key: frequencies() if key.endswith("freqs") else torch.tensor(float(number)).expand(shape)
        for number, (key, shape) in enumerate(released.full_size(name).items())
    }


def frequencies() -> Tensor:
    """Those of RoPE over 32 channels."""
    return 10_000.0 ** (-torch.arange(16) / 16)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_files(folder: Path) -> dict[str, Path]:
    """LaVie's three files, the first two with averaged weights beside others."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in ARGUMENTS:
        paths[name] = folder / f"{name}.pt"
        weights = state(name)
        torch.save({"ema": weights, "step": 7} if name != "interpolation" else weights, paths[name])
    return paths


def write_folder(folder: Path, name: str) -> dict[str, nn.Module]:
    """A folder of image models, "sd" or "x4", as diffusers had it in 2022 or later; its parts."""
    config = {"sd": SMALL_SD14, "x4": SMALL_X4}[name]
    levels = {"sd": 4, "x4": 3}[name]
    write_json(folder / "unet" / "config.json", config)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULES[name])
    if name == "x4":
        write_json(folder / "low_res_scheduler" / "scheduler_config.json", SCHEDULES["x4_low"])
    unet = filled(UNet2DConditionModel.from_config(config), seed=1)
    torch.save(unet.state_dict(), folder / "unet" / "diffusion_pytorch_model.bin")
    vae = _write_autoencoder(folder / "vae", levels)
    text_encoder = _write_text_encoder(folder / "text_encoder", old=name == "sd")
    _write_tokenizer(folder / "tokenizer")
    return {"unet": unet, "vae": vae, "text_encoder": text_encoder}


def _write_autoencoder(folder: Path, levels: int) -> nn.Module:
    """With the names of attention that diffusers had in 2022."""
    vae = AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=4,
    )
    unwritten = ("scaling_factor", "_use_default_values")
    config = {name: value for name, value in vae.config.items() if name not in unwritten}
    write_json(folder / "config.json", config)
    old = {}
    for name, tensor in filled(vae, seed=2).state_dict().items():
        for new, before in (
            ("to_q", "query"),
            ("to_k", "key"),
            ("to_v", "value"),
            ("to_out.0", "proj_attn"),
        ):
            name = name.replace(f".{new}.", f".{before}.")
        old[name] = tensor
    assert "decoder.mid_block.attentions.0.proj_attn.bias" in old
    torch.save(old, folder / "diffusion_pytorch_model.bin")
    return vae


def _write_text_encoder(folder: Path, *, old: bool) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=515,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=513,
        eos_token_id=514,
        pad_token_id=514,
    )
    write_json(folder / "config.json", {"model_type": "clip_text_model"} | config.to_diff_dict())
    model = filled(CLIPTextModel(config), seed=3)
    weights = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in model.state_dict().items()
    }
    if old:
        positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
        torch.save(weights | positions, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return model


def _write_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer with one merge: letters, letters that end a word, "at" and the two marks."""
    letters = [chr(number) for number in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    letters += [chr(256 + number) for number in range(68)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "at</w>"]
    words += ["<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {word: number for number, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\na t</w>\n", encoding="utf-8")
    special = {"bos_token": words[-2], "eos_token": words[-1], "pad_token": words[-1]}
    write_json(folder / "special_tokens_map.json", special | {"unk_token": words[-1]})
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    write_json(folder / "tokenizer_config.json", about | special | {"unk_token": words[-1]})
