"""What the last run of the base model trains: to tell true clips from those that it drew itself.

A training of minutes after one of hours (Zheng et al., arXiv 2503.01103). The model of the run
before draws clips under captions of training scenes, once; see `mutoscope.stages.discriminative`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from mutoscope.data.batches import shuffled
from mutoscope.data.cache import LatentCache
from mutoscope.data.sources import ClipSource, FolderSource, WorldSource
from mutoscope.diffusion.guidance import Unguided
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.diffusion.times import UniformTimes
from mutoscope.encoding.identity import weights_hash
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.first_frame import FirstFrameSamples, clips_to_judge
from mutoscope.recipes.parents import (
    FPS,
    latent_cache,
    load_codec,
    load_text,
    save,
    start_of,
    text_of,
    world_samples,
)
from mutoscope.recipes.samples import SIZE, CaptionSamples
from mutoscope.recipes.tasks import LAW, NUM_FRAMES, Evaluate
from mutoscope.stages.beginning import can_begin
from mutoscope.stages.discriminative import OWN, Discriminative
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.reading import quietly
from mutoscope.training.recipe import Run
from mutoscope.types import Batch, Latents

TOGETHER = 8
"""Clips that are drawn in one go, and lie in one file."""


@dataclass(frozen=True, kw_only=True)
class DiscriminativeTask:
    """Trains a finished base model, the third parent, against clips that it drew itself.

    Attributes:
        process: The noise law.
        time_shift: See `UniformTimes`.
        drawn: Clips that it draws, each under a caption of its own; no run before saw their scenes.
        steps: Steps of the sampler, without guidance: as it draws by itself.
        sharpness, own_weight: See `Discriminative`.
        batch_size: Pairs a batch, of a true clip and a drawn one.
        seed: Of the order of the data, of what is drawn, and of the scenes: those of seeds from
            `10**9 * (seed - 83)` on.
        samples: Test captions, and image-only ones, drawn in an evaluation.
    """

    process: VariancePreserving = LAW
    time_shift: float = 4.0
    drawn: int = 640
    steps: int = 20
    sharpness: float = 500.0
    own_weight: float = 1.0
    batch_size: int = 4
    seed: int = 95
    samples: int = field(default=8, compare=False)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        codec, text = (
            load_codec(parents["autoencoder"], device),
            load_text(text_of(parents), device),
        )
        network, before = (_start(parents).to(device) for _ in range(2))
        stage = Discriminative(
            network,
            before,
            self.process,
            text,
            sharpness=self.sharpness,
            own_weight=self.own_weight,
            times=UniformTimes(shift=self.time_shift),
        )
        source = self._clips(data)
        cache = latent_cache(source, codec, work)
        identity = weights_hash({"network": before, "text": text.model}, source.key(), self.seed)
        drawn = DrawnClips(
            work / "cache" / f"drawn-{identity}-{self.steps}",
            stage.before,
            self.process,
            cache,
            steps=self.steps,
            seed=self.seed,
        )
        samples: Evaluate = world_samples(
            parents, self.process, device=device, num_frames=NUM_FRAMES, count=self.samples
        )
        if data is not None:
            shown = tuple(cache.captions(n)[0] for n in range(min(self.samples, len(cache))))
            samples = CaptionSamples(self.process, text, codec, NUM_FRAMES, shown)
        if can_begin(network):
            examples = clips_to_judge(self.samples, data)
            samples = FirstFrameSamples(self.process, text, codec, examples, samples)
        return Run(
            objective=stage,
            batches=PairBatches(cache, drawn, self.batch_size, self.seed),
            evaluate=samples,
            export=self.export,
        )

    def export(self, modules: Mapping[str, nn.Module], folder: Path) -> None:
        """Saves the U-Net as `folder/base` and its noise law as `folder/scheduler`."""
        save(modules["network"], folder / "base")
        self.process.scheduler("dpm++").save_pretrained(folder / "scheduler")

    def _clips(self, data: Path | None) -> ClipSource:
        if data is not None:
            return FolderSource(folder=data, num_frames=NUM_FRAMES, fps=FPS, size=SIZE)
        return WorldSource(
            count=self.drawn,
            kind="video",
            num_frames=NUM_FRAMES,
            first_seed=10**9 * (self.seed - 83),
        )


class DrawnClips:
    """Latents of clips that a model draws under the captions of a source; float16 on disk.

    Eight are drawn, without guidance, and written when one of them is first needed; from then on,
    in this run and in all later ones, they are read.

    Args:
        folder: Where they lie; its name must tell the model, the clips and the settings.
        stage: What draws.
        process: Its noise law.
        clips: The true clips, of whose captions each drawn clip has one.
        steps: Steps of DPM-Solver++.
        seed: Clip n is drawn from the noise of seed `10**6 * seed + n`.
    """

    def __init__(
        self,
        folder: Path,
        stage: KeyFrames,
        process: VariancePreserving,
        clips: LatentCache,
        *,
        steps: int,
        seed: int,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.stage = stage
        self.process = process
        self.clips = clips
        self.steps = steps
        self.seed = seed
        self._parts: dict[int, NDArray[np.float16]] = {}

    def caption(self, index: int) -> str:
        """The caption that clip `index` is drawn under."""
        options = self.clips.captions(index)
        return options[index % len(options)]

    def latents(self, indices: Sequence[int]) -> Latents:
        """Latents of the drawn clips `indices`, float32, B c F h w."""
        rows = []
        for index in indices:
            part, row = divmod(index, TOGETHER)
            if part not in self._parts:
                self._parts[part] = self._part(part)
            rows.append(self._parts[part][row])
        return torch.from_numpy(np.stack(rows)).float()

    def _part(self, part: int) -> NDArray[np.float16]:
        path = self.folder / f"latents_{part:05d}.npy"
        if not path.exists():
            drawn = self._draw(range(part * TOGETHER, min((part + 1) * TOGETHER, len(self.clips))))
            draft = path.with_suffix(".tmp.npy")
            np.save(draft, drawn.cpu().numpy().astype(np.float16))
            os.replace(draft, path)
        stored: NDArray[np.float16] = np.load(path, mmap_mode="r")
        return stored

    def _draw(self, numbers: range) -> Tensor:
        _, channels, frames, height, width = self.clips.latents([0]).shape
        return self.stage.sample(
            self.stage.describe([self.caption(number) for number in numbers]),
            (channels, frames, height, width),
            scheduler=self.process.scheduler("dpm++"),
            steps=self.steps,
            guidance=Unguided(),
            generators=[Generator().manual_seed(10**6 * self.seed + n) for n in numbers],
        )


@dataclass(frozen=True)
class PairBatches:
    """Batches of true clips, each beside one that was drawn under its caption.

    Attributes:
        clips: The true ones.
        drawn: The drawn ones, by the same numbers.
        batch_size: Pairs a batch.
        seed: Of the order.
    """

    clips: LatentCache
    drawn: DrawnClips
    batch_size: int
    seed: int

    def __call__(self, number: int) -> Batch:
        members = shuffled(len(self.clips), self.batch_size, number, self.seed)
        return Batch(
            captions=tuple(self.drawn.caption(member) for member in members),
            latents=self.clips.latents(members),
            labels={OWN: self.drawn.latents(members)},
        )


def _start(parents: Mapping[str, Path]) -> VideoUNet:
    """The base model of the run before, with all its input channels."""
    folder = start_of(parents)
    assert folder is not None
    with quietly():
        network: VideoUNet = VideoUNet.from_pretrained(folder / "base")
    network.to(memory_format=torch.channels_last)
    return network
