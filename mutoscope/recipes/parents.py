"""What earlier runs of the chain left, loaded for the runs that build on it."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from diffusers import AutoencoderKL, ModelMixin
from torch import nn
from transformers import CLIPTextModel, PreTrainedModel, PreTrainedTokenizerFast

from mutoscope.data.cache import Encoder, LatentCache
from mutoscope.data.sources import ClipSource, FolderSource
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.metrics.oracle import Oracle, load_oracle
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.nn.widen import narrow
from mutoscope.recipes.samples import CaptionSamples, Modules, WorldSamples
from mutoscope.recipes.worth import Worth
from mutoscope.systems.reading import quietly
from mutoscope.types import Size

FPS = 8.0
TEXTS = ("words", "text")
"""Runs that leave a text encoder, the last first."""


def world_samples(
    parents: Mapping[str, Path],
    process: VariancePreserving,
    *,
    device: str,
    num_frames: int,
    count: int,
) -> WorldSamples:
    """What draws and reads samples of a denoiser whose parents lie in these folders."""
    oracle = load_oracle()
    if oracle is not None:
        oracle.to(device)
    codec, text = load_codec(parents["autoencoder"], device), load_text(text_of(parents), device)
    # A still costs little and a clip much, but a clip shows a shape sixteen times.
    worth = Worth(codec, num_frames, FPS, count=min(count, 8) if num_frames > 1 else 4 * count)
    draws = CaptionSamples(process, text, codec, num_frames)
    return WorldSamples(draws, oracle, FPS, count, worth)


def latent_cache(source: ClipSource, encoder: Encoder, work: Path) -> LatentCache:
    """The clips of a source as an encoder sees them, below `work`."""
    # Starting processes takes longer than making a few clips.
    processes = (os.cpu_count() or 1) if len(source) > 500 else 1
    return LatentCache(work / "cache", source, encoder, processes=processes)


def footage_stills(data: Path, size: Size) -> FolderSource:
    """A frame of each second of the user's videos."""
    return FolderSource(folder=data, num_frames=1, fps=1.0, size=size)


def text_of(parents: Mapping[str, Path]) -> Path:
    """The folder of the parent that is a text encoder."""
    return next(parents[name] for name in TEXTS if name in parents)


def start_of(parents: Mapping[str, Path]) -> Path | None:
    """The folder of the parent that is a denoiser to start from, if there is one."""
    others = ("autoencoder", "autoencoder4", *TEXTS)
    return next((folder for name, folder in parents.items() if name not in others), None)


def load_unet(folder: Path) -> VideoUNet:
    """The U-Net that `DenoiserTask` left in `folder`, to start another from.

    If it may be told a first frame it comes without the input channels of one: it draws from text
    alone as before.
    """
    with quietly():
        network: VideoUNet = VideoUNet.from_pretrained(folder / "base")
    return narrow(network, in_channels=network.config["out_channels"])


def load_reader(folder: Path, device: str) -> Oracle:
    """The frozen oracle that `OracleTask` left in `folder`."""
    with quietly():
        oracle: Oracle = Oracle.from_pretrained(folder / "oracle")
    oracle.to(device).eval().requires_grad_(False)
    return oracle


def load_codec(folder: Path, device: str) -> LatentCodec:
    """The frozen autoencoder that `AutoencoderTask` left in `folder`."""
    with quietly():
        vae = AutoencoderKL.from_pretrained(folder / "vae")
    return LatentCodec(_frozen(vae, device))


def load_text(folder: Path, device: str) -> TextEncoder:
    """The frozen text encoder that `TextTask` left in `folder`."""
    with quietly():
        model = CLIPTextModel.from_pretrained(folder / "text_encoder")
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    return TextEncoder(_frozen(model, device), tokenizer)


def save(component: nn.Module, folder: Path) -> None:
    """Writes a model of diffusers or transformers, and not the folder that it began from."""
    assert isinstance(component, ModelMixin | PreTrainedModel)
    component.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    if config.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def denoiser_export(name: str, process: VariancePreserving) -> Callable[[Modules, Path], None]:
    """What saves the U-Net of a run as `folder/NAME`, and its noise law as `folder/scheduler`."""

    def export(modules: Modules, folder: Path) -> None:
        save(modules["network"], folder / name)
        process.scheduler("dpm++").save_pretrained(folder / "scheduler")

    return export


def _frozen(module: nn.Module, device: str) -> nn.Module:
    return module.to(device).eval().requires_grad_(False)
