"""Released weights: their names become ours, and their configurations our arguments."""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from mutoscope.errors import ModelError
from mutoscope.nn.misfits import first_of, misfits
from mutoscope.nn.rope import rotary_angles
from mutoscope.nn.temporal import TemporalAttention
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.reading import as_model_error

# The arguments of `VideoUNet` that make it each of the three networks that LaVie's authors released
# (github.com/Vchitect/LaVie, commit 6ce851e).
LAVIE_BASE: Mapping[str, Any] = MappingProxyType(
    {"rotary_dim": 32, "relative_position_bias": True, "group_norm_over": "clip"}
)
LAVIE_INTERPOLATION: Mapping[str, Any] = MappingProxyType(
    {
        "in_channels": 8,
        "self_attention": "sparse-causal",
        "temporal_attention": "after",
        "rotary_dim": 0,
        "group_norm_over": "clip",
    }
)
LAVIE_SUPER_RESOLUTION: Mapping[str, Any] = MappingProxyType(
    {
        "in_channels": 7,
        "block_out_channels": (256, 512, 512, 1024),
        "attention_levels": (False, True, True, True),
        "only_cross_attention": (True, True, True, False),
        "cross_attention_dim": 1024,
        "linear_projection": True,
        "num_noise_levels": 1000,
        "rotary_dim": 32,
        "relative_position_bias": True,
        "temporal_convolutions": True,
        "temporal_groups": 32,
        "group_norm_over": "clip",
    }
)

# Part of our name -> the released one.
_RELEASED = (
    (re.compile(r"\.relative_position_bias\."), ".time_rel_pos_bias.relative_attention_bias."),
)
# What the base and interpolation networks call "temp" the super-resolution network calls
# "temporal"; what belongs to our levels lies between them there.
_RELEASED_WITH_CONVOLUTIONS = (
    *_RELEASED,
    (re.compile(r"\.(attn|norm)_temp\."), r".\1_temporal."),
    (re.compile(r"\.conv_temp\."), ".resblock_temporal."),
    (re.compile(r"\.temporal_module\.temporal_res_block\."), ".temporal_module.resblocks_3d_t."),
    (re.compile(r"\.temporal_module\.spatial_res_block\."), ".temporal_module.resblocks_3d_s."),
    (re.compile(r"\.temporal_module\.proj_out\."), ".temporal_module.shift_conv."),
    (re.compile(r"^(down|up)_blocks\.(\d+)\.temporal_module\."), r"\1_temporal_blocks.\2."),
    (re.compile(r"^mid_block\.temporal_module\."), "mid_temporal_block."),
)
_FREQUENCIES = "rotary_emb.freqs"

# Settings of a released configuration of which the released weights use one value only.
_ONLY: Mapping[str, object] = {
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_type": "UNetMidBlock3DCrossAttn",
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "act_fn": "silu",
    "norm_eps": 1e-5,
    "dual_cross_attention": False,
    "upcast_attention": False,
    "resnet_time_scale_shift": "default",
    "use_relative_position": False,
    "mid_temporal": True,
    "video_condition": False,
}
_NEEDED = frozenset(
    {
        "in_channels",
        "out_channels",
        "down_block_types",
        "up_block_types",
        "block_out_channels",
        "layers_per_block",
        "norm_num_groups",
        "cross_attention_dim",
        "attention_head_dim",
    }
)
_POSSIBLE = frozenset(
    {
        "only_cross_attention",
        "use_linear_projection",
        "num_class_embeds",
        "use_first_frame",
        "down_temporal_idx",
        "up_temporal_idx",
        "temporal_module_config",
    }
)
_WITHOUT_EFFECT = frozenset({"sample_size"})

# What an image network's configuration may say that is not diffusers' default.
_IMAGE = _NEEDED | {
    "num_attention_heads",
    "only_cross_attention",
    "use_linear_projection",
    "num_class_embeds",
    "sample_size",
    "upcast_attention",
}
_IMAGE_BLOCKS = ("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")


def lavie_weights(released: Mapping[str, Tensor], network: VideoUNet) -> dict[str, Tensor]:
    """LaVie's released weights under the names of `network`, which may be any of the three.

    Kernels of k x 1 x 1 become those of k x 1, which our convolutions over time have. Frequencies
    of RoPE, of which each released attention stores a copy, are compared with its formula and left
    out: ours are computed.

    Args:
        released: The state dict of a released network, by its own names.
        network: Built with `LAVIE_BASE`, `LAVIE_INTERPOLATION` or `LAVIE_SUPER_RESOLUTION`, or by
            `lavie_network`; not changed.

    Returns:
        What `network.load_state_dict` takes, in the precision of `released`.

    Raises:
        ModelError: A weight is missing, unknown or of another shape, or frequencies are not those
            of RoPE; the message has the released names.
    """
    wanted, ours = {}, {}
    for name, tensor in network.state_dict().items():
        theirs = _released_name(name, network)
        wanted[theirs], ours[theirs] = tensor, name
    frequencies = _frequencies(network)
    given = {name: _without_last_axis(tensor) for name, tensor in released.items()}
    # Half precision keeps 11 bits.
    problems = misfits(given, wanted | frequencies) or [
        f"{name} are not the frequencies of RoPE"
        for name, formula in frequencies.items()
        if not torch.allclose(given[name].float().cpu(), formula, rtol=1e-3, atol=0)
    ]
    if problems:
        raise ModelError(
            f"these weights are not those of such a network of LaVie: {first_of(problems)}. Give "
            "released weights, and a network built with the arguments that belong to them."
        )
    return {ours[name]: given[name] for name in wanted}


def network_of_json(path: Path) -> VideoUNet:
    """The network that a JSON file describes; random weights.

    Args:
        path: Holds the arguments of a released class, as a `config.json` does; or these under
            "config", and beside them what in the released classes is a constant of 32: "rope_dim"
            and "temporal_group_norm_groups". What else lies beside them is not read.

    Raises:
        ModelError: There is no such file, or what it asks for is nothing that the released weights
            use.
        RequestError: It contradicts itself.
    """
    with as_model_error(path):
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config: dict[str, Any] = told.get("config", told)
    return lavie_network(
        config,
        rotary_dim=told.get("rope_dim", 32),
        temporal_groups=told.get("temporal_group_norm_groups", 32),
    )


def lavie_network(
    config: Mapping[str, Any], *, rotary_dim: int = 32, temporal_groups: int = 32
) -> VideoUNet:
    """The network that a configuration of LaVie's released classes describes; random weights.

    Which of the three classes it is for shows in its settings: the one with sparse-causal attention
    (`use_first_frame`) has no position of any kind in time and attends over time last; the one with
    temporal modules has convolutions over time.

    Args:
        config: The arguments of the released class, as its `config.json` has them.
        rotary_dim: Channels of each head that RoPE turns, where there is RoPE; in the released
            classes a constant.
        temporal_groups: Groups of the normalisations around convolutions over time; likewise.

    Raises:
        ModelError: The configuration asks for what the released weights do not use.
        RequestError: It contradicts itself.
    """
    attends = _check_config(config)
    sparse_causal = bool(config.get("use_first_frame"))
    convolutions = "temporal_module_config" in config
    network: VideoUNet = VideoUNet(
        in_channels=config["in_channels"],
        out_channels=config["out_channels"],
        block_out_channels=tuple(config["block_out_channels"]),
        layers_per_block=config["layers_per_block"],
        attention_levels=attends,
        num_attention_heads=config["attention_head_dim"],  # so named, but it is their number
        cross_attention_dim=config["cross_attention_dim"],
        norm_num_groups=config["norm_num_groups"],
        group_norm_over="clip",
        self_attention="sparse-causal" if sparse_causal else "frame",
        only_cross_attention=config.get("only_cross_attention", False),
        linear_projection=config.get("use_linear_projection", False),
        num_noise_levels=config.get("num_class_embeds"),
        temporal_attention="after" if sparse_causal else "before",
        rotary_dim=0 if sparse_causal else rotary_dim,
        relative_position_bias=not sparse_causal,
        temporal_convolutions=convolutions,
        temporal_groups=temporal_groups if convolutions else None,
    )
    return network


def image_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `VideoUNet` for what a Stable Diffusion network does to each frame.

    With `temporal=False` they make the image network itself.

    Args:
        config: Of a diffusers `UNet2DConditionModel`, as `unet/config.json` has it; what it leaves
            out is as diffusers has it by default.

    Raises:
        ModelError: The configuration asks for what `VideoUNet` does not have.

    Source: LaVie (arXiv 2309.15103) §4.1.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(UNet2DConditionModel.__init__).parameters.items()
        if name != "self"
    }
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    for name, value in given.items():
        if name not in _IMAGE and (name not in defaults or _list(value) != _list(defaults[name])):
            raise ModelError(_no_image_network(name, value))
    settings = defaults | given
    for name in ("down_block_types", "up_block_types"):
        if not set(settings[name]) <= set(_IMAGE_BLOCKS):
            raise ModelError(_no_image_network(name, settings[name]))
    attends = _attends("down_block_types", settings)
    if _attends("up_block_types", settings) != attends[::-1]:
        raise ModelError(_no_image_network("up_block_types", settings["up_block_types"]))
    return {
        "in_channels": settings["in_channels"],
        "out_channels": settings["out_channels"],
        "block_out_channels": tuple(settings["block_out_channels"]),
        "layers_per_block": settings["layers_per_block"],
        "attention_levels": attends,
        # Where only the second is given it is, in spite of its name, the number of heads.
        "num_attention_heads": settings["num_attention_heads"] or settings["attention_head_dim"],
        "cross_attention_dim": settings["cross_attention_dim"],
        "norm_num_groups": settings["norm_num_groups"],
        "only_cross_attention": settings["only_cross_attention"],
        "linear_projection": settings["use_linear_projection"],
        "num_noise_levels": settings["num_class_embeds"],
    }


def _list(value: object) -> object:
    """Tuples as JSON has them."""
    return list(value) if isinstance(value, tuple) else value


def _no_image_network(name: str, value: object) -> str:
    return (
        f"{name}={value!r} of an image network has no counterpart in time: those of Stable "
        "Diffusion 1.x, 2.x and its x4 upscaler have. Give the folder of one of these."
    )


def _released_name(ours: str, network: VideoUNet) -> str:
    convolutions = network.config["temporal_convolutions"]
    for pattern, released in _RELEASED_WITH_CONVOLUTIONS if convolutions else _RELEASED:
        ours = pattern.sub(released, ours)
    return ours


def _without_last_axis(tensor: Tensor) -> Tensor:
    return tensor.squeeze(-1) if tensor.ndim == 5 else tensor


def _frequencies(network: VideoUNet) -> dict[str, Tensor]:
    """What a released network of this configuration stores as RoPE's frequencies, by its names."""
    result = {}
    for name, module in network.named_modules():
        if isinstance(module, TemporalAttention) and (width := module.rotary_dim):
            # From one frame to the next a pair of channels turns by its frequency.
            formula = rotary_angles(2, width, rotary_dim=width)[1]
            result[_released_name(f"{name}.{_FREQUENCIES}", network)] = formula
            if network.config["temporal_convolutions"]:
                # That network stores them once more, for no attention in particular.
                result[f"temporal_{_FREQUENCIES}"] = formula
    return result


def _check_config(config: Mapping[str, Any]) -> tuple[bool, ...]:
    """Which levels of a released configuration attend; refuses what has no counterpart here."""
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    if missing := sorted(_NEEDED - settings.keys()):
        raise ModelError(
            f"a configuration without {missing[0]} cannot be built: LaVie's released networks all "
            "have it. Give the configuration of one of these."
        )
    known = _ONLY.keys() | _NEEDED | _POSSIBLE | _WITHOUT_EFFECT
    if unknown := sorted(settings.keys() - known):
        raise ModelError(_not_a_configuration(unknown[0], settings[unknown[0]], "no such setting"))
    for name, value in _ONLY.items():
        if settings.get(name, value) != value:
            raise ModelError(_not_a_configuration(name, settings[name], repr(value)))
    attends = _attends("down_block_types", settings)
    if _attends("up_block_types", settings) != attends[::-1]:
        wanted = "the levels of down_block_types in reverse"
        raise ModelError(_not_a_configuration("up_block_types", settings["up_block_types"], wanted))
    for name in ("down_temporal_idx", "up_temporal_idx"):
        every = list(range(len(attends)))
        if list(settings.get(name, every)) != every:
            raise ModelError(_not_a_configuration(name, settings[name], f"{every}, every level"))
    return attends


def _attends(name: str, settings: Mapping[str, Any]) -> tuple[bool, ...]:
    types: Sequence[str] = settings[name]
    return tuple("CrossAttn" in each for each in types)


def _not_a_configuration(name: str, value: object, wanted: str) -> str:
    return (
        f"{name}={value!r} cannot be built: LaVie's released networks have {wanted}. Give the "
        "configuration of one of these."
    )
