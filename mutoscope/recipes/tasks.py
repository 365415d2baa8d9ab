"""What the runs of the generator's parts train: the autoencoder, and the denoisers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from mutoscope.data.batches import (
    CropBatches,
    FootageCrops,
    JointBatches,
    LatentBatches,
    PieceBatches,
    RenderedBatches,
    SparseBatches,
    every_fourth,
)
from mutoscope.data.cache import ChosenClips, LatentCache
from mutoscope.data.sources import ClipSource, FolderSource, WorldSource
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.diffusion.times import UniformTimes
from mutoscope.encoding.codec import LatentCodec, Reconstruction, measure_scale
from mutoscope.nn.temporal import inflate, is_temporal
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.parents import (
    FPS,
    denoiser_export,
    footage_stills,
    latent_cache,
    load_codec,
    load_text,
    load_unet,
    start_of,
    text_of,
    world_samples,
)
from mutoscope.recipes.samples import SIZE, CaptionSamples, CodecSamples, Evaluate
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.training.fields import WITHOUT_SAYING
from mutoscope.training.recipe import Run
from mutoscope.types import Batch, Size
from mutoscope.world.factors import ASPECT, DIRECTIONS, LEVELS

NUM_FRAMES = 16
LAW = VariancePreserving(betas="cosine", prediction="v")


@dataclass(frozen=True, kw_only=True)
class AutoencoderTask:
    """Trains a diffusers `AutoencoderKL` on pieces of single frames.

    Attributes:
        patch: Side of the pixel blocks that the network sees as one position.
        widths: Channels per level; each level but the last halves the frame.
        layers: Residual blocks per level of the encoder (the decoder has one more).
        latent_channels: Channels of the latents.
        kl_weight, edge_weight: See `Reconstruction`.
        batch_size: Pieces a batch: many small steps learn sooner than few large.
        frame: Height of the frames in pixels; they are 1.6 times as wide.
        piece: Height and width of the pieces, in pixels.
        each: Pieces of each frame.
        attention: Whether all places of a frame attend to each other between encoder and decoder.
        seed: Of the range of scenes.
        samples: Test stills of an evaluation.
    """

    patch: int = 4
    widths: tuple[int, ...] = (64, 96)
    layers: int = 1
    latent_channels: int = 16
    kl_weight: float = 1e-3
    edge_weight: float = 0.5
    batch_size: int = 8
    frame: int = field(default=80, metadata=WITHOUT_SAYING)
    piece: tuple[int, int] = field(default=(40, 64), metadata=WITHOUT_SAYING)
    each: int = field(default=1, metadata=WITHOUT_SAYING)
    attention: bool = field(default=True, metadata=WITHOUT_SAYING)
    seed: int = 1
    samples: int = field(default=64, compare=False)

    @property
    def width(self) -> int:
        """Width of the frames in pixels."""
        return round(ASPECT * self.frame)

    def network(self) -> AutoencoderKL:
        """The autoencoder with its first weights."""
        levels = len(self.widths)
        vae = AutoencoderKL(
            in_channels=3 * self.patch**2,
            out_channels=3 * self.patch**2,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.widths,
            layers_per_block=self.layers,
            latent_channels=self.latent_channels,
            norm_num_groups=16,
            sample_size=self.width,
            mid_block_add_attention=self.attention,
            scaling_factor=1.0,
            shift_factor=0.0,
        )
        return vae.to(memory_format=torch.channels_last)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        vae, size, seed = self.network().to(device), Size(self.frame, self.width), self.seed * 10**9
        stills = None if data is None else footage_stills(data, size)
        height, width = self.piece
        pieces: Callable[[int], Batch] = CropBatches(
            batch_size=self.batch_size,
            height=height,
            width=width,
            frame=self.frame,
            each=self.each,
            seed=seed,
        )
        many = 64 * 80**2 // self.frame**2  # as many pixels, whatever the size
        frames: Callable[[int], Batch] = RenderedBatches(
            batch_size=many,
            num_frames=1,
            height=self.frame,
            width=self.width,
            seed=seed + 10**8,
        )
        if stills is not None:
            pieces = FootageCrops(
                source=stills,
                batch_size=self.batch_size,
                height=height,
                width=width,
                each=self.each,
                seed=seed,
            )
            frames = FootageCrops(
                source=stills,
                batch_size=min(many, len(stills)),
                height=self.frame,
                width=self.width,
                seed=seed,
            )

        def export(modules: Mapping[str, nn.Module], folder: Path) -> None:
            vae = modules["vae"]
            assert isinstance(vae, AutoencoderKL)
            videos = [frames(number).to(str(vae.device)).video for number in range(8)]
            scale, shift = measure_scale(vae, [video for video in videos if video is not None])
            vae.register_to_config(scaling_factor=scale, shift_factor=shift)
            vae.save_pretrained(folder / "vae")

        return Run(
            objective=Reconstruction(vae, kl_weight=self.kl_weight, edge_weight=self.edge_weight),
            batches=pieces,
            evaluate=CodecSamples(self.samples, size, stills),
            export=export,
            of_data=True,
        )


@dataclass(frozen=True, kw_only=True)
class DenoiserTask:
    """Trains the U-Net, on stills or on clips and stills.

    Where it has a third parent, an image model or a video model, it starts from that.

    Attributes:
        widths, layers, attention_levels, heads: Of the `VideoUNet`.
        process: The noise law.
        time_shift, lowest_time: See `UniformTimes`.
        thing_weight: See `KeyFrames`; of no effect on one's own videos.
        piece: Side, in latent cells, of the pieces that three of four batches of stills are cut
            to; 0 leaves all whole. Nobody cuts one's own videos.
        images: Stills in the cache.
        clips: Clips in the cache; 0 trains text-to-image.
        images_per_clip: Stills appended to each clip (M; LaVie: 4); 0 trains on clips alone.
        image_weight: Weight alpha of the loss on them.
        stride: In three of four batches of clips, frames from one that is given to the next, of so
            many times the clips, with fewer stills each; 1 gives all frames always.
        directed: Whether only clips of one thing that goes one way, grows or shrinks are shown,
            with captions that say all: the simpler source that a curriculum begins with. Of one's
            own videos, the calmer half.
        frame_numbers: Whether the video U-Net is told the numbers of frames; see `VideoUNet`.
        trained: "all", as LaVie does, or "temporal": the layers that the image model lacks.
        batch_size: Stills, or clips, a batch.
        seed: Of the order of the data.
        samples: Test captions, and image-only ones, drawn in an evaluation.
    """

    widths: tuple[int, ...] = (64, 96, 96)
    layers: int = 1
    attention_levels: tuple[bool, ...] = (True, True, True)
    heads: tuple[int, ...] = (4, 4, 4)
    process: VariancePreserving = LAW
    time_shift: float = 1.0
    lowest_time: float = field(default=0.0, metadata=WITHOUT_SAYING)
    thing_weight: float = field(default=1.0, metadata=WITHOUT_SAYING)
    piece: int = field(default=0, metadata=WITHOUT_SAYING)
    images: int = 60_000
    clips: int = 0
    images_per_clip: int = 4
    image_weight: float = 1.0
    stride: int = field(default=1, metadata=WITHOUT_SAYING)
    directed: bool = field(default=False, metadata=WITHOUT_SAYING)
    frame_numbers: bool = field(default=False, metadata=WITHOUT_SAYING)
    trained: Literal["all", "temporal"] = "all"
    batch_size: int = 32
    seed: int = 4
    samples: int = field(default=24, compare=False)

    def network(self, *, channels: int, text_width: int, temporal: bool) -> VideoUNet:
        """The U-Net with its first weights."""
        network: VideoUNet = VideoUNet(
            in_channels=channels,
            out_channels=channels,
            block_out_channels=self.widths,
            layers_per_block=self.layers,
            attention_levels=self.attention_levels,
            num_attention_heads=self.heads,
            cross_attention_dim=text_width,
            norm_num_groups=16,
            temporal=temporal,
            frame_numbers=NUM_FRAMES if self.frame_numbers else None,
        )
        network.to(memory_format=torch.channels_last)
        return network

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        codec = load_codec(parents["autoencoder"], device)
        text = load_text(text_of(parents), device)
        temporal = self.clips > 0
        network = self.network(
            channels=codec.channels, text_width=text.model.config.hidden_size, temporal=temporal
        )
        start = start_of(parents)
        if start is not None:
            self.begin(load_unet(start), network)
        if temporal:
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(self.trained == "all" or is_temporal(name))
        stage = KeyFrames(
            network.to(device),
            self.process,
            text,
            image_weight=self.image_weight,
            thing_weight=self.thing_weight,
            times=UniformTimes(shift=self.time_shift, lowest=self.lowest_time),
        )
        frames = NUM_FRAMES if temporal else 1
        samples: Evaluate = world_samples(
            parents, self.process, device=device, num_frames=frames, count=self.samples
        )
        if data is not None:
            source = self._clips(data) if temporal else self._stills(data)
            shown = range(min(self.samples, len(source)))
            captions = tuple(source.clip(number)[1][0] for number in shown)
            samples = CaptionSamples(self.process, text, codec, frames, captions)
        return Run(
            objective=stage,
            batches=self._batches(data, codec, work),
            evaluate=samples,
            export=denoiser_export("base", self.process),
            of_data=True,
        )

    def begin(self, start: VideoUNet, network: VideoUNet) -> None:
        """Gives the network its first weights from those of the run before."""
        begin_from(start, network)

    def _batches(self, data: Path | None, codec: LatentCodec, work: Path) -> Callable[[int], Batch]:
        if not self.clips:
            cache = latent_cache(self._stills(data), codec, work)
            whole = LatentBatches(cache, self.batch_size, self.seed)
            if not self.piece or data is not None:
                return whole
            others = replace(whole, seed=self.seed + 1)
            return every_fourth(whole, PieceBatches(others, self.piece, others.seed))
        source = self._clips(data)
        cache = latent_cache(source, codec, work)
        clips: LatentCache | ChosenClips = cache
        if self.directed:
            clips = (
                directed_clips(cache, source)
                if isinstance(source, WorldSource)
                else calm_clips(cache)
            )
        every_frame = self._of_clips(clips, data, codec, work, stride=1)
        if self.stride == 1:
            return every_frame
        sparse = self._of_clips(clips, data, codec, work, stride=self.stride)
        return every_fourth(every_frame, SparseBatches(sparse, self.stride, self.seed + 1))

    def _of_clips(
        self,
        clips: LatentCache | ChosenClips,
        data: Path | None,
        codec: LatentCodec,
        work: Path,
        *,
        stride: int,
    ) -> Callable[[int], Batch]:
        """Batches of whole clips, `stride` times as many as usual, with as many stills in all."""
        count, seed = stride * self.batch_size, self.seed + 100 * (stride - 1)
        if not self.images_per_clip:
            return LatentBatches(clips, count, seed)
        stills = latent_cache(self._stills(data), codec, work)
        return JointBatches(clips, stills, count, max(1, self.images_per_clip // stride), seed)

    def _stills(self, data: Path | None) -> ClipSource:
        if data is not None:
            return footage_stills(data, SIZE)
        return WorldSource(count=self.images, kind="image", num_frames=1, first_seed=5 * 10**9)

    def _clips(self, data: Path | None) -> ClipSource:
        if data is not None:
            return FolderSource(folder=data, num_frames=NUM_FRAMES, fps=FPS, size=SIZE)
        return WorldSource(
            count=self.clips, kind="video", num_frames=NUM_FRAMES, first_seed=6 * 10**9
        )


def directed_clips(clips: LatentCache, source: WorldSource) -> ChosenClips:
    """Of the clips of a source, those of one thing that goes one way, grows or shrinks."""
    scenes = map(source.scene, range(len(source)))
    numbers = [
        number
        for number, scene in enumerate(scenes)
        if scene.arrangement == "single"
        and scene.things[0].motion in (*DIRECTIONS, "grow", "shrink")
    ]
    full = slice(LEVELS.index("full"), None, len(LEVELS))
    return ChosenClips(clips, tuple(numbers), full)


def calm_clips(clips: LatentCache) -> ChosenClips:
    """Half of the clips: those whose latents change least from frame to frame, one at least."""
    changes = [
        float(clips.latents([number]).diff(dim=2).abs().mean()) for number in range(len(clips))
    ]
    calmest = np.argsort(changes, kind="stable")[: max(1, len(changes) // 2)]
    return ChosenClips(clips, tuple(sorted(calmest.tolist())), slice(None))


def begin_from(start: VideoUNet, network: VideoUNet) -> None:
    """Gives `network` the weights of `start`, inflated if that is an image model.

    Layers over time that `start` lacks start as the identity.
    """
    if start.config["temporal"] == network.config["temporal"]:
        own = {name: each for name, each in network.state_dict().items() if is_temporal(name)}
        network.load_state_dict(own | start.state_dict())
    else:
        inflate(start.state_dict(), network)
