"""What the run of the interpolation trains: the base model, widened to see key frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mutoscope.data.batches import every_fourth
from mutoscope.data.cache import LatentCache
from mutoscope.data.sources import ClipSource, FolderSource, WorldSource
from mutoscope.data.windows import WindowBatches
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.nn.widen import widen
from mutoscope.recipes.between_samples import (
    Example,
    InterpolationSamples,
    source_examples,
    world_examples,
)
from mutoscope.recipes.parents import (
    FPS,
    denoiser_export,
    latent_cache,
    load_codec,
    load_text,
    load_unet,
    start_of,
    text_of,
)
from mutoscope.recipes.samples import SIZE
from mutoscope.recipes.tasks import LAW, NUM_FRAMES
from mutoscope.stages.interpolation import Interpolation, num_frames
from mutoscope.systems.reading import quietly
from mutoscope.training.fields import WITHOUT_SAYING
from mutoscope.training.recipe import Run
from mutoscope.types import Batch


@dataclass(frozen=True, kw_only=True)
class InterpolationTask:
    """Trains the base model to fill in frames between the key frames that it draws itself.

    The third parent is the base model, or an interpolation to go on from.

    Attributes:
        process: The noise law, that of the base model.
        factor: Frames from one key frame to the next (LaVie: 4).
        keys_seen: Key frames of a short window; every fourth batch holds whole clips.
        most_known: See `Interpolation`.
        patch: Height and width of a window, in latent cells of the 10x16 of a frame.
        clips: Clips in the cache, each spanned by as many key frames as the base model draws.
        batch_size: Short windows a batch; of whole clips so many as have no more frames.
        seed: Of the order of the data and the places of the windows.
        backwards: See `WindowBatches`.
        samples: Test clips filled in in an evaluation.
    """

    process: VariancePreserving = LAW
    factor: int = 4
    keys_seen: int = 5
    most_known: int = 12
    patch: tuple[int, int] = (8, 12)
    clips: int = 4_000
    batch_size: int = 8
    seed: int = 5
    backwards: float = field(default=0.0, metadata=WITHOUT_SAYING)
    samples: int = field(default=8, compare=False)

    @property
    def num_frames(self) -> int:
        """Frames of a whole clip."""
        return num_frames(NUM_FRAMES, factor=self.factor)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        codec = load_codec(parents["autoencoder"], device)
        text = load_text(text_of(parents), device)
        start = start_of(parents)
        assert start is not None
        if (start / "interpolator").is_dir():
            with quietly():
                network: VideoUNet = VideoUNet.from_pretrained(start / "interpolator")
        else:
            network = widen(load_unet(start), in_channels=2 * codec.channels)
        network.to(device).to(memory_format=torch.channels_last)
        source = self._source(data)
        return Run(
            objective=Interpolation(
                network, self.process, text, factor=self.factor, most_known=self.most_known
            ),
            batches=self._batches(latent_cache(source, codec, work)),
            evaluate=InterpolationSamples(
                self.process, text, codec, self.factor, self._examples(source, data)
            ),
            export=denoiser_export("interpolator", self.process),
            of_data=True,
        )

    def _batches(self, cache: LatentCache) -> Callable[[int], Batch]:
        """Short windows, which are cheap, and in every fourth batch whole clips.

        Without these the network would never meet the distances in time that it is asked for when
        it fills in a whole clip at once.
        """
        seen = num_frames(self.keys_seen, factor=self.factor)

        def windows(batch_size: int, frames: int, seed: int) -> WindowBatches:
            height, width = self.patch
            return WindowBatches(
                cache=cache,
                batch_size=batch_size,
                num_frames=frames,
                height=height,
                width=width,
                seed=seed,
                backwards=self.backwards,
            )

        short = windows(self.batch_size, seen, self.seed)
        whole = windows(
            max(1, self.batch_size * seen // self.num_frames), self.num_frames, self.seed + 1
        )
        return every_fourth(whole, short)

    def _source(self, data: Path | None) -> ClipSource:
        fps = self.factor * FPS
        if data is not None:
            return FolderSource(folder=data, num_frames=self.num_frames, fps=fps, size=SIZE)
        return WorldSource(
            count=self.clips,
            kind="video",
            num_frames=self.num_frames,
            fps=fps,
            first_seed=7 * 10**9,
        )

    def _examples(self, source: ClipSource, data: Path | None) -> Sequence[Example]:
        if data is not None:
            return source_examples(source, self.samples, factor=self.factor)
        return world_examples(
            self.samples, factor=self.factor, num_frames=self.num_frames, fps=self.factor * FPS
        )
