"""What the runs of the super-resolution train: an image upscaler, then its layers over time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from mutoscope.data.batches import every_fourth
from mutoscope.data.cut import Cut
from mutoscope.data.shaken import Shaken
from mutoscope.data.sources import ClipSource, FolderSource, Frames, WorldSource
from mutoscope.data.windows import WindowBatches
from mutoscope.diffusion.guidance import Unguided
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.diffusion.tiles import Tiles
from mutoscope.encoding.detail import bicubic
from mutoscope.encoding.pairs import Pairs, unpaired
from mutoscope.encoding.text import TextEncoder
from mutoscope.metrics.between import psnr
from mutoscope.nn.temporal import is_temporal
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.parents import (
    denoiser_export,
    footage_stills,
    latent_cache,
    load_codec,
    load_text,
    start_of,
    text_of,
)
from mutoscope.recipes.samples import Modules
from mutoscope.recipes.tasks import LAW, begin_from
from mutoscope.stages.super_resolution import SuperResolution, part_of
from mutoscope.systems.reading import quietly
from mutoscope.training.recipe import Run
from mutoscope.types import Batch, Size, Video
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.grammar import caption
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene

LARGE = Size(320, 512)
FPS = 32.0
STEPS = 2
NOISE_LEVEL = 5
DETAIL = 0.22
"""Standard deviation of the detail of 64 training stills."""


@dataclass(frozen=True, kw_only=True)
class SuperResolutionTask:
    """Trains the network that makes a video four times as high and wide.

    On stills it trains an image upscaler. On clips it starts from that, adds layers over time and
    trains only these; every fourth batch then holds stills that a hand-held camera seems to film.
    The third parent, if there is one, is what it starts from: an upscaler of stills or of clips.

    Attributes:
        widths, layers, attention_levels, heads: Of the `VideoUNet`.
        num_noise_levels: Levels of noise on the small video that it learns.
        process: The noise law.
        detail: Scale of what it draws; see `DetailCodec`.
        num_frames: Frames of a clip; 1 trains on stills.
        most_known: See `SuperResolution`.
        clips: Clips, or stills, in the cache.
        cut: Height and width of the part of each clip that is encoded, in latent cells of the
            80x128 of a frame.
        patch: Height and width of a window of it.
        batch_size: Windows a batch.
        trained: "temporal", as LaVie does, or "all".
        seed: Of the order of the data and the places of the windows.
        samples: Test clips enlarged in an evaluation.
    """

    widths: tuple[int, ...] = (32, 32, 48)
    layers: int = 1
    attention_levels: tuple[bool, ...] = (False, False, True)
    heads: tuple[int, ...] = (2, 4, 4)
    num_noise_levels: int = 200
    process: VariancePreserving = LAW
    detail: float | None = DETAIL
    num_frames: int = 1
    most_known: int = 0
    clips: int = 3_000
    cut: tuple[int, int] = (40, 40)
    patch: tuple[int, int] = (20, 20)
    batch_size: int = 16
    trained: Literal["all", "temporal"] = "all"
    seed: int = 8
    samples: int = field(default=4, compare=False)

    def network(self, *, channels: int, text_width: int) -> VideoUNet:
        """The U-Net with its first weights."""
        network: VideoUNet = VideoUNet(
            in_channels=channels + 3,
            out_channels=channels,
            block_out_channels=self.widths,
            layers_per_block=self.layers,
            attention_levels=self.attention_levels,
            num_attention_heads=self.heads,
            cross_attention_dim=text_width,
            norm_num_groups=16,
            temporal=self.num_frames > 1,
            temporal_convolutions=self.num_frames > 1,
            num_noise_levels=self.num_noise_levels,
        )
        network.to(memory_format=torch.channels_last)
        return network

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        pairs = Pairs(load_codec(parents["autoencoder4"], device), detail=self.detail)
        text = load_text(text_of(parents), device)
        network = self.network(
            channels=pairs.large.channels, text_width=text.model.config.hidden_size
        )
        start = start_of(parents)
        if start is not None:
            with quietly():
                begin_from(VideoUNet.from_pretrained(start / "upscaler"), network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self.trained == "all" or is_temporal(name))
        stage = SuperResolution(network.to(device), self.process, text, most_known=self.most_known)
        source = self._source(data)
        return Run(
            objective=stage,
            batches=self._batches(source, self._stills(data), pairs, work),
            evaluate=EnlargedSamples(self.process, text, pairs, self._examples(source, data)),
            export=denoiser_export("upscaler", self.process),
            of_data=True,
        )

    def _batches(
        self, source: ClipSource, stills: ClipSource, pairs: Pairs, work: Path
    ) -> Callable[[int], Batch]:
        factor = pairs.large.spatial_factor
        height, width = (factor * side for side in self.cut)

        def windows(source: ClipSource, seed: int) -> Callable[[int], Batch]:
            part = Cut(source=source, height=height, width=width, seed=seed)
            cut = WindowBatches(
                cache=latent_cache(part, pairs, work),
                batch_size=self.batch_size,
                num_frames=self.num_frames,
                height=self.patch[0],
                width=self.patch[1],
                seed=seed,
            )
            return lambda number: _apart(cut(number))

        if self.num_frames == 1:
            return windows(source, self.seed)
        filmed = Shaken(stills=stills, num_frames=self.num_frames, seed=self.seed)
        return every_fourth(windows(filmed, self.seed + 1), windows(source, self.seed))

    def _source(self, data: Path | None) -> ClipSource:
        if self.num_frames == 1:
            return self._stills(data)
        if data is not None:
            return FolderSource(folder=data, num_frames=self.num_frames, fps=FPS, size=LARGE)
        return WorldSource(
            count=self.clips,
            kind="video",
            num_frames=self.num_frames,
            fps=FPS,
            height=LARGE.height,
            width=LARGE.width,
            first_seed=8 * 10**9,
        )

    def _stills(self, data: Path | None) -> ClipSource:
        if data is not None:
            return footage_stills(data, LARGE)
        return WorldSource(
            count=self.clips,
            kind="image",
            num_frames=1,
            height=LARGE.height,
            width=LARGE.width,
            first_seed=9 * 10**9,
        )

    def _examples(self, source: ClipSource, data: Path | None) -> list[tuple[Frames, str]]:
        if data is not None:
            clips = [source.clip(number) for number in range(min(self.samples, len(source)))]
            return [(frames, captions[0]) for frames, captions in clips]
        kind: Literal["image", "video"] = "image" if self.num_frames == 1 else "video"
        scenes = [draw_scene(number, split="test", kind=kind) for number in range(self.samples)]
        return [
            (
                render(
                    scene,
                    num_frames=self.num_frames,
                    fps=FPS,
                    height=LARGE.height,
                    width=LARGE.width,
                ),
                caption(scene, level="full", seed=number),
            )
            for number, scene in enumerate(scenes)
        ]


def _apart(batch: Batch) -> Batch:
    """A batch of pairs as latents and the small video."""
    assert batch.latents is not None
    latents, low = unpaired(batch.latents)
    return replace(batch, latents=latents, video=low)


@dataclass(frozen=True)
class EnlargedSamples:
    """Enlarges small test videos and compares them with the large ones they came from.

    Beside the PSNR of the network stand those of bicubic enlargement, of the mean of four samples,
    and of the large autoencoder's round trip, which no sample can be expected to pass.

    Attributes:
        process: The noise law.
        text: The text encoder.
        pairs: Makes small videos and latents of large ones.
        examples: Large videos, uint8 F H W 3, and captions; number i is drawn from seed i.
    """

    process: VariancePreserving
    text: TextEncoder
    pairs: Pairs
    examples: Sequence[tuple[Frames, str]]

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        stage = SuperResolution(modules["network"], self.process, self.text)
        found: dict[str, list[float]] = {}
        clips, titles = [], []
        for seed, (frames, text) in enumerate(self.examples):
            truth = to_floats(frames)[None]
            ways = self.enlarged(stage, truth, text, seed)
            everywhere = torch.ones(frames.shape[:3], dtype=torch.bool)[None]
            for way, video in ways.items():
                found.setdefault(f"{way}_psnr_db", []).append(float(psnr(video, truth, everywhere)))
            clips += [to_bytes(video)[0][:2] for video in (truth, *ways.values())]
            titles += [f"{text}: truth", *ways]
        write_png(folder / "enlarged.png", contact_sheet(clips, titles, num_columns=len(clips[0])))
        return {name: sum(each) / len(each) for name, each in found.items()}

    def enlarged(
        self, stage: SuperResolution, truth: Video, text: str, seed: int
    ) -> dict[str, Video]:
        """The four ways of coming near the truth (1 3 F H W), in its size."""
        with torch.inference_mode():
            latents, low = unpaired(self.pairs.encode(truth))
            ceiling = self._pixels(latents, low)
        several = [
            self._pixels(self._drawn(stage, low, latents.shape[1], text, 4 * seed + number), low)
            for number in range(4)
        ]
        return {
            "bicubic": bicubic(low, self.pairs.large.spatial_factor),
            "enlarged": several[0],
            "mean_of_4": torch.stack(several).mean(dim=0),
            "autoencoder": ceiling,
        }

    def _drawn(
        self, stage: SuperResolution, low: Video, channels: int, text: str, seed: int
    ) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed)]
        told = stage.knowing(stage.describe([text]), low, NOISE_LEVEL, generators)
        frames, height, width = low.shape[2:]
        parts = stage.enlarge(
            partial(part_of, told),
            (channels, frames, height, width),
            window=frames,
            overlap=0,
            tiles=Tiles(height=height, width=width, overlap=0),
            scheduler=self.process.scheduler("dpm++"),
            steps=STEPS,
            guidance=Unguided(),
            generators=generators,
        )
        return torch.cat(list(parts), dim=2)

    def _pixels(self, latents: torch.Tensor, low: torch.Tensor) -> Video:
        with torch.inference_mode():
            return self.pairs.details.decode(latents, low).clamp(-1, 1).cpu()
