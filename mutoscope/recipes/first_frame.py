"""What the run of the first frame trains: the base model, told what its clip begins with.

For long videos and for pictures that move: LaVie (arXiv 2309.15103) §5.6.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mutoscope.data.batches import every_fourth
from mutoscope.data.sources import ClipSource, FolderSource, WorldSource
from mutoscope.data.windows import WindowBatches
from mutoscope.diffusion.denoise import pinned
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.nn.widen import widen
from mutoscope.recipes.parents import FPS, latent_cache, load_codec, start_of
from mutoscope.recipes.samples import (
    GUIDANCE,
    SIZE,
    STEPS,
    Evaluate,
    Modules,
    pixels,
    scenes_to_test,
)
from mutoscope.recipes.tasks import NUM_FRAMES, DenoiserTask
from mutoscope.stages.beginning import GOES_ON, beginning_with, can_begin, channels_beside
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.reading import quietly
from mutoscope.training.optim import Muon, Schedule
from mutoscope.training.recipe import Recipe, Run
from mutoscope.types import Batch, Latents, Video
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.grammar import caption

_DRAWN = 4  # clips on the sheet of an evaluation


@dataclass(frozen=True, kw_only=True)
class FirstFrameTask(DenoiserTask):
    """Trains the base model to be told its first frame too, so that one network does both.

    The third parent is the base model, which may know of first frames already. What every base
    learns goes on; beside it, in every fourth batch, are clips that begin later than a scene does,
    at any of `later` frames: what a long video goes on from. Their captions say where things
    started, so they are understood only from their first frame, which is always told. If "temporal"
    is `trained`, the input layer is too.

    Attributes:
        untold: Share of the other clips that are not told their first frame.
        later: Most frames by which a clip begins late; 0 for no such clips. One's own videos have
            none: what they show has begun before anyway.
        later_clips: Scenes in their cache.
    """

    untold: float = 0.5
    later: int = NUM_FRAMES - 1
    later_clips: int = 4_000

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        run = super().prepare(parents, data, device, work)
        base = run.objective
        assert isinstance(base, KeyFrames)
        assert isinstance(base.network, VideoUNet)
        codec = load_codec(parents["autoencoder"], device)
        assert run.evaluate is not None
        network = told_first_frames(base.network)
        start = start_of(parents)
        assert start is not None
        with quietly():
            before = VideoUNet.from_pretrained(start / "base")
        if can_begin(before):
            network.conv_in.load_state_dict(before.conv_in.state_dict())
        stage = KeyFrames(
            network,
            self.process,
            base.text,
            image_weight=self.image_weight,
            thing_weight=self.thing_weight,
            untold=self.untold,
            times=base.times,
        )
        batches = run.batches
        if self.later and data is None:
            batches = every_fourth(self._later(codec, work), batches)
        samples = None
        if self.samples:
            judged = clips_to_judge(self.samples, data)
            samples = FirstFrameSamples(self.process, base.text, codec, judged, run.evaluate)
        return replace(run, objective=stage, batches=batches, evaluate=samples)

    def _later(self, codec: LatentCodec, work: Path) -> Callable[[int], Batch]:
        source = WorldSource(
            count=self.later_clips,
            kind="video",
            num_frames=NUM_FRAMES + self.later,
            first_seed=10 * 10**9,
        )
        height, width = codec.latent_size(SIZE)
        windows = WindowBatches(
            cache=latent_cache(source, codec, work),
            batch_size=self.batch_size,
            num_frames=NUM_FRAMES,
            height=height,
            width=width,
            seed=self.seed + 2,
        )

        def batch(number: int) -> Batch:
            made = windows(number)
            marks = torch.ones(len(made.captions), dtype=torch.bool)
            return replace(made, labels={GOES_ON: marks})

        return batch


def clips_to_judge(count: int, data: Path | None) -> tuple[Video, tuple[str, ...]]:
    """Clips that a base model is judged by, pixels in [-1, 1], and their captions.

    Args:
        count: How many, at most.
        data: A folder to take them from; None takes test scenes of the world.
    """
    if data is not None:
        source: ClipSource = FolderSource(folder=data, num_frames=NUM_FRAMES, fps=FPS, size=SIZE)
        shown = [source.clip(number) for number in range(min(count, len(source)))]
        clips = torch.stack([to_floats(frames) for frames, _ in shown])
        return clips, tuple(captions[0] for _, captions in shown)
    scenes = scenes_to_test(count, "video")
    told = tuple(caption(each, level="full", seed=each.seed) for each in scenes)
    return pixels(scenes, num_frames=NUM_FRAMES, fps=FPS), told


def told_first_frames(base: VideoUNet) -> VideoUNet:
    """The network that draws as `base` does, whatever it is told of first frames.

    Args:
        base: Stays as it is. Parameters that it trains are trained, and the input layer.
    """
    channels: int = base.config["out_channels"]
    network = widen(base, in_channels=channels + channels_beside(channels))
    trained = {name: each.requires_grad for name, each in base.named_parameters()}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(trained[name] or name.startswith("conv_in."))
    network.to(memory_format=torch.channels_last)
    return network


def first_frame(autoencoder: Recipe, words: Recipe, base: Recipe) -> Recipe:
    """The base model told the first frame of its clip, or none: the one that `generate` needs for
    --seconds and --image. It learns from what the base learned from, in another order.

    Args:
        autoencoder: Of the frames.
        words: The text encoder.
        base: The last run of the base model, for all frames of clips.
    """
    assert isinstance(base.task, DenoiserTask)
    learned = {each.name: getattr(base.task, each.name) for each in fields(DenoiserTask)}
    return Recipe(
        name="first_frame",
        task=FirstFrameTask(**learned | {"seed": base.task.seed + 10}),
        parents=(autoencoder, words, base),
        steps=6_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=50, decay=0.6, shape="cosine"),
        ema=0.998,
        precision="bf16",
        parts=2,
        seed=8,
        evaluate_every=3_000,
        save_every=200,
    )


@dataclass(frozen=True)
class FirstFrameSamples:
    """What the first frame is worth, and clips drawn from one; then what is asked of any base.

    The worth is how much larger the error of the other frames is if the network is told none, and
    if it is told that of another clip, than with their own, in the same noise. This needs no
    sampling; see `mutoscope.recipes.worth`. The sheet shows true clips above those drawn from their
    first frames.

    Attributes:
        process: The noise law.
        text: The text encoder.
        codec: The autoencoder.
        examples: Clips, pixels in [-1, 1] (B 3 F H W), and their captions.
        others: What else is asked.
        time: How noisy the clips are shown.
    """

    process: VariancePreserving
    text: TextEncoder
    codec: LatentCodec
    examples: tuple[Video, Sequence[str]]
    others: Evaluate
    time: float = 700.0

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        stage = KeyFrames(modules["network"], self.process, self.text)
        video, captions = self.examples
        with torch.inference_mode():
            clean = self.codec.encode(video)
            errors = worth_of_first_frames(stage, clean, captions, time=self.time)
        self._draw(stage, clean[:_DRAWN], folder / "first_frames.png")
        figures = {name: float(error.mean()) for name, error in errors.items()}
        own = figures["first_frame_error"]
        worth = {
            "first_frame_error": own,
            "first_frame_worth": figures["none"] - own,
            "first_frame_own_worth": figures["another"] - own,
        }
        return worth | dict(self.others(modules, step, folder))

    def _draw(self, stage: KeyFrames, clean: Latents, sheet: Path) -> None:
        """Draws clips from the first frames of others, and lays both on a sheet."""
        video, captions = self.examples
        told = beginning_with(
            stage.describe(list(captions[: len(clean)])), clean[:, :, :1], clean.shape[2]
        )
        drawn = stage.sample(
            told,
            (clean.shape[1], clean.shape[2], clean.shape[3], clean.shape[4]),
            scheduler=self.process.scheduler("dpm++"),
            steps=STEPS,
            guidance=TextGuidance(GUIDANCE),
            generators=[Generator().manual_seed(number) for number in range(len(clean))],
        )
        with torch.inference_mode():
            moved = to_bytes(self.codec.decode(drawn))
        rows = [each for pair in zip(to_bytes(video), moved, strict=False) for each in pair]
        titles = [title for text in captions[: len(clean)] for title in (text, "from its first")]
        write_png(sheet, contact_sheet(rows, titles, num_columns=min(8, clean.shape[2])))


def worth_of_first_frames(
    stage: KeyFrames, clean: Latents, captions: Sequence[str], *, time: float
) -> dict[str, Float[Tensor, " B"]]:
    """Squared errors of clips in the same noise, the mean over all their frames but the first.

    Args:
        stage: The denoiser.
        clean: Scaled latents of the clips, B c F h w, two or more.
        captions: Of the clips.
        time: How noisy they are.

    Returns:
        "first_frame_error" where each is told its own first frame, "none" where it is told none,
        "another" where it is told that of the next clip.
    """
    noise = torch.randn(clean.shape, generator=Generator().manual_seed(0)).to(clean)
    now = torch.full((len(clean),), time, device=clean.device)
    noisy = stage.process.add_noise(clean, noise, now)
    target = stage.process.target(clean, noise, now)
    text = stage.describe(list(captions))
    first = clean[:, :, :1]
    tellings = {
        "first_frame_error": beginning_with(text, first, clean.shape[2]),
        "none": text,
        "another": beginning_with(text, first.roll(1, dims=0), clean.shape[2]),
    }
    errors = {}
    for name, told in tellings.items():
        error = stage.predict(pinned(noisy, told), now, told) - target
        errors[name] = error[:, :, 1:].float().square().mean(dim=(1, 2, 3, 4))
    return errors
