"""Published weights become folders that `load` reads: LaVie's own, or images' to train on from."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, SchedulerMixin
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME

from mutoscope.diffusion.process import process_from
from mutoscope.errors import ModelError, RequestError
from mutoscope.nn.misfits import first_of, misfits
from mutoscope.nn.temporal import inflate, is_temporal
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.full_size import LAVIE_SAMPLING, lavie_schedulers
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.reading import as_model_error, quietly
from mutoscope.systems.weight_files import read_weights
from mutoscope.systems.weights import (
    LAVIE_BASE,
    LAVIE_INTERPOLATION,
    LAVIE_SUPER_RESOLUTION,
    image_arguments,
    lavie_weights,
)
from mutoscope.video.atomic import check_place, whole

OnComponent = Callable[[str, int], None]
"""Called as `on_component(name, weights)` when a component has been written."""

_WEIGHT_FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
# What diffusers called the parts of an autoencoder's attention when Stable Diffusion 1.4 came out.
_OLD_ATTENTION = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}
# Of the x4 upscaler's autoencoder, in folders from before diffusers wrote it down.
_X4_SCALE = 0.08333
# A file is read anew for each part of a component, so that no more of it than this is in memory.
_PART = "500MB"


@dataclass(frozen=True)
class _Weights:
    """A component that is yet to be written.

    Attributes:
        module: The component, on the meta device.
        read: Its weights by name; each call maps the file anew.
    """

    module: nn.Module
    read: Callable[[], dict[str, Tensor]]


def convert_lavie(
    out: Path,
    *,
    base: Path | None = None,
    interpolation: Path | None = None,
    upscale: Path | None = None,
    sd: Path | None = None,
    x4: Path | None = None,
    on_component: OnComponent | None = None,
) -> None:
    """LaVie's published weights as a system; any of the three networks may be left out.

    Everything is checked before anything is written, and never more than half a gigabyte of
    weights is in memory. What the published files lack (autoencoders, text encoders, shapes of the
    networks) comes from the image models that LaVie began from. The schedulers, and what else is
    recorded of sampling (docs/papers.md), are what its authors sample with.

    Args:
        out: The folder to write; must not exist.
        base: `lavie_base.pt`; needs `sd`.
        interpolation: `lavie_interpolation.pt`; needs `sd`.
        upscale: `lavie_vsr.pt`; needs `x4`.
        sd: The folder of Stable Diffusion 1.4 as diffusers has it.
        x4: That of the Stable Diffusion x4 upscaler.
        on_component: See `OnComponent`.

    Raises:
        RequestError: No network is given, or not the folder that one needs, or `out` cannot be.
        ModelError: A file is not what it should be; the message names the keys that do not fit.

    Source: LaVie (arXiv 2309.15103) §4; github.com/Vchitect/LaVie, commit 6ce851e.
    """
    if base is None and interpolation is None and upscale is None:
        raise RequestError(
            "nothing is to be converted: LaVie's networks are base, interpolation and upscale. "
            "Give the file of one or more."
        )
    components: dict[str, Any] = {}
    schedulers = lavie_schedulers()
    if base is not None or interpolation is not None:
        folder = _needed(sd, "sd", "base and interpolation", "Stable Diffusion 1.4")
        image = _image_arguments(folder)
        if base is not None:
            components["base"] = _released(base, {**LAVIE_BASE, **image})
            components["scheduler"] = schedulers["scheduler"]
        if interpolation is not None:
            wider = {"in_channels": 2 * image["in_channels"]}
            components["interpolator"] = _released(
                interpolation, {**LAVIE_INTERPOLATION, **image, **wider}
            )
            components["interpolator_scheduler"] = schedulers["interpolator_scheduler"]
        components |= _text_and_pixels(folder)
    if upscale is not None:
        folder = _needed(x4, "x4", "upscale", "the Stable Diffusion x4 upscaler")
        arguments = {**LAVIE_SUPER_RESOLUTION, **_image_arguments(folder)}
        components["upscaler"] = _released(upscale, arguments)
        components["upscaler_scheduler"] = schedulers["upscaler_scheduler"]
        components |= _text_and_pixels(folder, "upscaler_", {"scaling_factor": _X4_SCALE})
        components["upscaler_low_scheduler"] = _scheduler(folder / "low_res_scheduler")
    _write(components, LAVIE_SAMPLING, out, on_component)


def start_from_images(
    out: Path,
    *,
    sd: Path | None = None,
    x4: Path | None = None,
    on_component: OnComponent | None = None,
) -> None:
    """Image models inflated in time: where the training of a video model starts.

    Every layer over time starts as the identity, so each frame comes out as the image model would
    make it. The noise schedules are those of the image models, and not LaVie's.

    Args:
        out: The folder to write; must not exist.
        sd: A folder of Stable Diffusion as diffusers has it; becomes the base.
        x4: That of its x4 upscaler; becomes the upscaler.
        on_component: See `OnComponent`.

    Raises:
        RequestError: Neither is given, or `out` cannot be written.
        ModelError: A folder is not what it should be; the message names the keys that do not fit.

    Source: LaVie (arXiv 2309.15103) §4.1, §4.3.
    """
    if sd is None and x4 is None:
        raise RequestError("there is nothing to start from. Give sd, x4, or both.")
    components: dict[str, Any] = {}
    if sd is not None:
        components["base"] = _inflated(sd / "unet", _image_arguments(sd))
        components["scheduler"] = process_from(_scheduler(sd / "scheduler")).scheduler()
        components |= _text_and_pixels(sd)
    if x4 is not None:
        arguments = {**_image_arguments(x4), "temporal_convolutions": True}
        components["upscaler"] = _inflated(x4 / "unet", arguments)
        components["upscaler_scheduler"] = process_from(_scheduler(x4 / "scheduler")).scheduler()
        components |= _text_and_pixels(x4, "upscaler_", {"scaling_factor": _X4_SCALE})
        components["upscaler_low_scheduler"] = _scheduler(x4 / "low_res_scheduler")
    _write(components, {}, out, on_component)


def _needed(folder: Path | None, name: str, stages: str, model: str) -> Path:
    if folder is None:
        raise RequestError(
            f"{stages} cannot be converted without {name}: text encoder, autoencoder and shapes "
            f"come from {model}. Give its folder, as diffusers has it."
        )
    return folder


def _released(path: Path, arguments: Mapping[str, Any]) -> _Weights:
    """A network of LaVie from the file that its authors published."""
    with torch.device("meta"):
        network = VideoUNet(**arguments)

    def read() -> dict[str, Tensor]:
        try:
            return lavie_weights(read_weights(path), network)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    read()  # says now what does not fit
    return _Weights(network, read)


def _inflated(folder: Path, arguments: Mapping[str, Any]) -> _Weights:
    """A video network that starts as the image network of a folder."""
    with torch.device("meta"):
        network = VideoUNet(**arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of time layers, of which the last ones are then set to zero
        _begin_time_layers(network)
    path = _weight_file(folder)
    try:
        inflate(read_weights(path), network, assign=True)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    own = {name: tensor for name, tensor in network.state_dict().items() if is_temporal(name)}
    network.to("meta")  # lets go of the file
    return _Weights(network, lambda: read_weights(path) | own)


def _begin_time_layers(network: VideoUNet) -> None:
    """Gives the time layers of a network on the meta device random weights on the CPU."""
    for name, module in network.named_modules():
        if is_temporal(name) and list(module.parameters(recurse=False)):
            module.to_empty(device="cpu", recurse=False)
            module.reset_parameters()


def _image_arguments(folder: Path) -> dict[str, Any]:
    """What the image network of a folder does to each frame."""
    return image_arguments(_config(folder / "unet" / "config.json"))


def _text_and_pixels(
    folder: Path, prefix: str = "", unwritten: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Text encoder, tokenizer and autoencoder of a folder.

    Args:
        folder: As diffusers has it.
        prefix: Of the components' names.
        unwritten: Settings of the autoencoder where its configuration has none.
    """
    return {
        f"{prefix}text_encoder": _text_encoder(folder / "text_encoder"),
        f"{prefix}tokenizer": _tokenizer(folder / "tokenizer"),
        f"{prefix}vae": _autoencoder(folder / "vae", unwritten or {}),
    }


def _text_encoder(folder: Path) -> _Weights:
    config = _config(folder / "config.json")
    with as_model_error(folder), quietly(), torch.device("meta"):
        module = CLIPTextModel(CLIPTextConfig(**config))
    # Some versions of transformers put one more word in front, and stored the numbers 0 to 76.
    names = {_bare(name): name for name in module.state_dict()}

    def read() -> dict[str, Tensor]:
        return {
            names.get(_bare(name), name): tensor
            for name, tensor in read_weights(_weight_file(folder)).items()
            if not name.endswith(".position_ids")
        }

    return _checked(module, read, folder)


def _bare(name: str) -> str:
    return name.removeprefix("text_model.")


def _tokenizer(folder: Path) -> CLIPTokenizer:
    if not folder.is_dir():
        raise ModelError(f"{folder} is not there. Download the whole folder of the image model.")
    with as_model_error(folder), quietly():
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _autoencoder(folder: Path, unwritten: Mapping[str, object]) -> _Weights:
    config = {**unwritten, **_config(folder / "config.json")}
    with as_model_error(folder), quietly(), torch.device("meta"):
        module = AutoencoderKL.from_config(config)
    return _checked(module, lambda: _with_new_names(read_weights(_weight_file(folder))), folder)


def _with_new_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in weights.items():
        for old, new in _OLD_ATTENTION.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


def _scheduler(folder: Path) -> SchedulerMixin:
    path = folder / "scheduler_config.json"
    config = _config(path)
    kind = getattr(diffusers, str(config.get("_class_name")), None)
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        raise ModelError(
            f"{path} is not the configuration of a scheduler that diffusers has. Download the "
            "whole folder of the image model."
        )
    with as_model_error(path), quietly():
        return kind.from_config(config)  # type: ignore[attr-defined]


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path} is not there. Download the whole folder of the image model.")
    with as_model_error(path):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def _weight_file(folder: Path) -> Path:
    for name in _WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(
        f"{folder} holds no weights: they lie in {', '.join(_WEIGHT_FILES[:-1])} or "
        f"{_WEIGHT_FILES[-1]}. Download one of these."
    )


def _checked(module: nn.Module, read: Callable[[], dict[str, Tensor]], folder: Path) -> _Weights:
    """A component whose weights are those of its module by name and shape."""
    if problems := misfits(read(), module.state_dict()):
        raise ModelError(
            f"{folder} does not hold the weights of a {type(module).__name__}: "
            f"{first_of(problems)}. Download it again, with the configuration in it."
        )
    return _Weights(module, read)


def _write(
    components: Mapping[str, Any],
    sampling: Mapping[str, Any],
    out: Path,
    on_component: OnComponent | None,
) -> None:
    check_place(out)
    parts: dict[str, Any] = {
        name: each.module if isinstance(each, _Weights) else each
        for name, each in components.items()
    }
    system = LaVie(**parts, **sampling, padded_text=True)
    with whole(out) as draft:
        draft.mkdir()
        for name, each in components.items():
            if isinstance(each, _Weights):
                count = _save(each, draft / name)
                if on_component is not None:
                    on_component(name, count)
            else:
                each.save_pretrained(draft / name)
        system.save_config(draft)


def _save(component: _Weights, folder: Path) -> int:
    """Writes a component as its library does, a part at a time; returns the number of weights."""
    module = component.module
    file = SAFETENSORS_WEIGHTS_NAME
    if isinstance(module, PreTrainedModel):
        file = SAFE_WEIGHTS_NAME
        module.config.save_pretrained(folder)
    else:
        module.save_config(folder)  # type: ignore[operator]
    weights = component.read()
    count = sum(tensor.numel() for tensor in weights.values())
    pattern = file.replace(".safetensors", "{suffix}.safetensors")
    parts = split_torch_state_dict_into_shards(
        weights, filename_pattern=pattern, max_shard_size=_PART
    )
    for part, names in parts.filename_to_tensors.items():
        del weights
        weights = component.read()
        save_file(
            {name: weights[name].contiguous() for name in names}, folder / part, {"format": "pt"}
        )
    if parts.is_sharded:
        index = {"metadata": parts.metadata, "weight_map": parts.tensor_to_filename}
        (folder / f"{file}.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return count
