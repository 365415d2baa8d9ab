"""Training in stages, as LaVie is trained: from simpler or poorer clips to harder or better ones.

Commands: `mutoscope train curriculum:curriculum --out RUNS`, and in place of the second word

* `curriculum`: clips of one thing that goes one way first, all clips mixed in gradually;
* `watermarked`, then `cleaned`: small clips with a watermark first, clean ones later, from a
  network that knows only clean stills, as LaVie's did when it met WebVid;
* `quality_tuned`: a second stage on the 2,000 best clips, after the last run of the chain.

Captions are dropped in each of them, as in all training here (`KeyFrames(text_dropout=)`). Of
`--data FOLDER` they make what they make of the world: marked clips, or the best ones by the same
measures. A curriculum of one's own videos begins with the half of the clips that changes least.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import torch

from mutoscope.data.cache import ChosenClips
from mutoscope.data.marked import Marked
from mutoscope.data.mixture import GradualBatches
from mutoscope.data.sources import ClipSource, FolderSource, WorldSource
from mutoscope.encoding.codec import LatentCodec
from mutoscope.errors import RequestError
from mutoscope.metrics.watermark import mark_correlation
from mutoscope.nn.absolute import AbsolutePositions
from mutoscope.nn.blocks import TemporalPattern
from mutoscope.nn.temporal import inflate, is_temporal
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes import mini
from mutoscope.recipes.first_frame import FirstFrameTask
from mutoscope.recipes.parents import (
    FPS,
    latent_cache,
    load_codec,
    load_reader,
    load_text,
    text_of,
)
from mutoscope.recipes.quality import Judge, chosen_clips, load_contrast
from mutoscope.recipes.samples import SIZE, CaptionSamples, Modules, scenes_to_test
from mutoscope.recipes.tasks import NUM_FRAMES, DenoiserTask
from mutoscope.training.optim import Muon, Schedule
from mutoscope.training.recipe import Recipe, Run
from mutoscope.types import Batch, Size, Video
from mutoscope.world.grammar import caption

SMALL = Size(40, 64)
BASE = mini.first_frame()
"""The last run of the base model."""


def last_finished(runs: Path) -> Recipe:
    """The last run of the base model that is finished in `runs`; the chain's last if none is.

    While a newer run of the base model is not shipped yet, `ship --unpack` leaves an older one.
    """
    for recipe in reversed(list(BASE.chain())):
        video = isinstance(recipe.task, DenoiserTask) and recipe.task.clips > 0
        if video and (runs / recipe.name / "model").is_dir():
            return recipe
    return BASE


@dataclass(frozen=True, kw_only=True)
class CurriculumTask(DenoiserTask):
    """Trains the U-Net on a simpler source first and mixes in all clips gradually.

    Attributes:
        rise: Batches between which the share of all clips rises from 0 to 1.
    """

    rise: tuple[int, int] = (500, 4_000)

    def _batches(self, data: Path | None, codec: LatentCodec, work: Path) -> Callable[[int], Batch]:
        hard = DenoiserTask._batches(replace(self, directed=False), data, codec, work)
        simple = DenoiserTask._batches(replace(self, directed=True), data, codec, work)
        begin, end = self.rise
        return GradualBatches(simple=simple, hard=hard, begin=begin, end=end)


@dataclass(frozen=True, kw_only=True)
class NewTimeTask(DenoiserTask):
    """Trains a U-Net that starts as the stills' part of its third parent, with new time layers.

    A network trained on clips and stills jointly is an image network without its time layers, which
    single images pass by. So ways of joining frames can be compared from one start.

    Attributes:
        anew: Whether time layers are new; else those of the third parent, which must have the same.
        rotary_dim, absolute_positions, temporal_pattern: Of the `VideoUNet`.
        samples: As of `DenoiserTask`; 0 evaluates nothing.
    """

    anew: bool = True
    rotary_dim: int | None = None
    absolute_positions: AbsolutePositions = "none"
    temporal_pattern: TemporalPattern = "place"
    samples: int = field(default=24, compare=False)

    def network(self, *, channels: int, text_width: int, temporal: bool) -> VideoUNet:
        plain = super().network(channels=channels, text_width=text_width, temporal=temporal)
        arguments = {name: each for name, each in plain.config.items() if not name.startswith("_")}
        network: VideoUNet = VideoUNet(
            **arguments
            | {
                "rotary_dim": self.rotary_dim,
                "absolute_positions": self.absolute_positions,
                "temporal_pattern": self.temporal_pattern,
            }
        )
        network.to(memory_format=torch.channels_last)
        return network

    def begin(self, start: VideoUNet, network: VideoUNet) -> None:
        if not self.anew:
            super().begin(start, network)
            return
        weights = start.state_dict()
        inflate({name: each for name, each in weights.items() if not is_temporal(name)}, network)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        run = super().prepare(parents, data, device, work)
        return run if self.samples else replace(run, evaluate=None)


@dataclass(frozen=True, kw_only=True)
class MarkTask(NewTimeTask):
    """Trains the U-Net on clips with a watermark, or on clean ones, and looks for the mark.

    Attributes:
        marked: Whether clips, and the stills beside them, are small ones scaled up with a mark.
        small: Their height and width before they are scaled up.
    """

    marked: bool = True
    small: tuple[int, int] = (SMALL.height, SMALL.width)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        run = super().prepare(parents, data, device, work)
        if not self.samples:
            return run
        draws = CaptionSamples(
            self.process,
            load_text(text_of(parents), device),
            load_codec(parents["autoencoder"], device),
            NUM_FRAMES,
        )
        return replace(run, evaluate=MarkSamples(draws, self.samples))

    def _clips(self, data: Path | None) -> ClipSource:
        return self._seen(super()._clips(data))

    def _stills(self, data: Path | None) -> ClipSource:
        return self._seen(super()._stills(data))

    def _seen(self, source: ClipSource) -> ClipSource:
        if not self.marked:
            return source
        height, width = self.small
        if isinstance(source, WorldSource):
            return Marked(clips=replace(source, height=height, width=width), size=SIZE)
        assert isinstance(source, FolderSource)
        return Marked(clips=replace(source, size=Size(height, width)), size=SIZE)


@dataclass(frozen=True)
class MarkSamples:
    """Draws test captions as clips and looks for the mark in them.

    Attributes:
        draws: What draws a caption.
        count: Test captions.
    """

    draws: CaptionSamples
    count: int

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        found = mark_correlation(self.videos(modules, folder / "marks.png"))
        return {"mark_correlation": float(found.mean())}

    def videos(self, modules: Modules, sheet: Path) -> Video:
        """The clips of the first test captions; number i has seed i. Writes them as a sheet."""
        scenes = scenes_to_test(self.count, "video")
        prompts = [caption(scene, level="short", seed=i) for i, scene in enumerate(scenes)]
        return self.draws.draw(modules, prompts, self.draws.num_frames, sheet)


@dataclass(frozen=True, kw_only=True)
class QualityTask(FirstFrameTask):
    """Trains the U-Net on the best clips of its source; see `mutoscope.recipes.quality`.

    It needs the oracle among its parents, beside those of `FirstFrameTask`. The first frames of
    half of the clips are told, so that drafts and long videos are drawn as before.

    Attributes:
        later: As of `FirstFrameTask`.
        chosen: How many clips are kept; of fewer, all.
        choice: By which rule: "best", or "first", as many clips as they come, to compare with.
        samples: As of `DenoiserTask`; 0 evaluates nothing.
    """

    later: int = 0
    chosen: int = 2_000
    choice: Literal["best", "first"] = "best"
    samples: int = field(default=24, compare=False)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        denoiser = {name: folder for name, folder in parents.items() if name != "oracle"}
        run = super().prepare(denoiser, data, device, work)
        source, codec = self._clips(data), load_codec(parents["autoencoder"], device)
        clips = latent_cache(source, codec, work)
        count = min(self.chosen, len(source))
        if self.choice == "best":
            folder = text_of(parents)
            text = load_text(folder, device)
            oracle = load_reader(parents["oracle"], device)
            kept = chosen_clips(
                clips,
                source,
                text=text,
                head=load_contrast(folder, text, oracle).to(device),
                judge=Judge(oracle, FPS),
                count=count,
                work=work,
            )
        else:
            kept = ChosenClips(clips, tuple(range(count)), slice(None))
        return replace(run, batches=self._of_clips(kept, data, codec, work, stride=1))


def curriculum() -> Recipe:
    """The U-Net that is told which frame is which: simple clips, then ever more of all clips.

    `mini:directed` and `mini:placed` in one run, without a step between the two.
    """
    return Recipe(
        name="curriculum",
        task=CurriculumTask(
            clips=16_000,
            images_per_clip=4,
            batch_size=8,
            time_shift=8.0,
            thing_weight=3.0,
            stride=4,
            frame_numbers=True,
            seed=65,
            samples=8,
        ),
        parents=(mini.autoencoder(), mini.words(), mini.lavie()),
        steps=20_000,
        optimizer=Muon(lr=2e-3),
        schedule=Schedule(warmup=20, decay=0.4, shape="cosine"),
        ema=0.995,
        precision="bf16",
        parts=2,
        seed=8,
        evaluate_every=5_000,
        save_every=200,
    )


def watermarked(start: Recipe | None = None) -> Recipe:
    """The first stage of two: small clips, scaled up, with a watermark.

    Args:
        start: Whose knowledge of stills it starts from; None for the chain's last.
    """
    return Recipe(
        name="watermarked",
        task=MarkTask(clips=8_000, images=8_000, batch_size=4, time_shift=2.0, seed=75, samples=16),
        parents=(mini.autoencoder(), mini.words(), start or BASE),
        steps=8_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=50, decay=0.3, shape="cosine"),
        ema=0.998,
        precision="bf16",
        parts=2,
        seed=9,
        evaluate_every=1_000,
        save_every=250,
    )


def cleaned(start: Recipe | None = None) -> Recipe:
    """The second stage: clean clips at full resolution.

    Args:
        start: As of `watermarked`.
    """
    first = watermarked(start)
    assert isinstance(first.task, MarkTask)
    return replace(
        first,
        name="cleaned",
        task=replace(first.task, marked=False, anew=False, seed=85),
        parents=(mini.autoencoder(), mini.words(), first),
        seed=10,
        evaluate_every=500,
    )


def quality_tuned(start: Recipe | None = None) -> Recipe:
    """Quality tuning (LaVie-QT): the best 2,000 of 16,000 clips, in small steps.

    Args:
        start: The run of the base model to go on from; None for the chain's last. It must come
            from a `DenoiserTask`, whose network and noise law this one has.

    Raises:
        RequestError: `start` is no run of a denoiser of clips.
    """
    start = start or BASE
    if not isinstance(start.task, DenoiserTask) or not start.task.clips:
        raise RequestError(
            f"{start.name!r} cannot be tuned for quality: it leaves no denoiser of clips. Give the "
            "run of a base model."
        )
    task = {each.name: getattr(start.task, each.name) for each in fields(DenoiserTask)}
    task |= {"clips": 16_000, "batch_size": 4, "seed": 95, "samples": 8}
    return Recipe(
        name="quality_tuned",
        task=QualityTask(**task | {"stride": 1, "thing_weight": 1.0, "lowest_time": 0.0}),
        parents=(mini.autoencoder(), mini.words(), mini.oracle(), start),
        steps=4_000,
        optimizer=Muon(lr=3e-4),
        schedule=Schedule(warmup=50, decay=0.8, shape="cosine"),
        ema=0.998,
        precision="bf16",
        parts=2,
        seed=11,
        evaluate_every=1_000,
        save_every=250,
    )
