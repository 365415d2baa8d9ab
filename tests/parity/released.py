"""What LaVie's released classes computed at small size, and what weights they have at full size.

The files were made with the unmodified classes of github.com/Vchitect/LaVie (commit and library
versions are in the .json files) from random weights and inputs; no trained weight is among them.
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.weights import network_of_json

FOLDER = Path(__file__).parent / "fixtures" / "lavie"
NETWORKS = ("base", "interpolation", "super_resolution")


@cache
def tensors(name: str) -> dict[str, Tensor]:
    """Weights `sd.*`, inputs `in.*` and outputs `out.*` of one file; not to be written to."""
    return load(gzip.decompress((FOLDER / f"{name}.safetensors.gz").read_bytes()))


def facts(name: str) -> dict[str, Any]:
    """The configuration and the number of parameters of one small network."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def full_size(name: str) -> dict[str, tuple[int, ...]]:
    """Name -> shape of everything in the state dict of one network at full size."""
    shapes = json.loads(gzip.decompress((FOLDER / f"{name}_keys.json.gz").read_bytes()))
    return {key: tuple(shape) for key, shape in shapes.items()}


def weights(name: str) -> dict[str, Tensor]:
    """The released state dict of one small network."""
    return {k.removeprefix("sd."): v for k, v in tensors(name).items() if k.startswith("sd.")}


def network(name: str) -> VideoUNet:
    """The small network, with weights of its own."""
    return network_of_json(FOLDER / f"{name}.json").eval()


def inputs(name: str) -> dict[str, Tensor]:
    """What the released class was given, as our network takes it."""
    given = tensors(name)
    told = {
        "sample": given["in.sample"],
        "timestep": given["in.timestep"].float(),
        "encoder_hidden_states": given["in.text"],
    }
    if "in.low_res" in given:
        told["sample"] = torch.cat([told["sample"], given["in.low_res"]], dim=1)
        told["noise_level"] = given["in.class_labels"]
    return told
