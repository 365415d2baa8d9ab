"""The shipped miniatures: the chain from nothing to LaVie's whole cascade at a quarter of its size.

Command: `mutoscope train mini:first_frame mini:interpolation mini:super_resolution --out RUNS`, or
any run of the chain alone, with what it builds on. Each run has its own folder there; a chain that
was stopped goes on when the same command is given again.
"""

from mutoscope.recipes.first_frame import first_frame as first_frame_of
from mutoscope.recipes.interpolation import InterpolationTask
from mutoscope.recipes.readers import OracleTask, TextTask
from mutoscope.recipes.super_resolution import SuperResolutionTask
from mutoscope.recipes.tasks import AutoencoderTask, DenoiserTask
from mutoscope.training.optim import AdamW, Muon, Schedule
from mutoscope.training.recipe import Recipe


def autoencoder() -> Recipe:
    """The f8 autoencoder of frames of 80x128, 16 latent channels."""
    return Recipe(
        name="autoencoder",
        task=AutoencoderTask(),
        steps=10_000,
        optimizer=AdamW(lr=2e-3),
        schedule=Schedule(warmup=100, decay=0.4, shape="cosine"),
        ema=0.998,
        evaluate_every=2_000,
        save_every=1_000,
    )


def oracle() -> Recipe:
    """The reader of the world, which judges and is never a part of a generator."""
    return Recipe(
        name="oracle",
        task=OracleTask(),
        steps=3_600,
        optimizer=AdamW(lr=1.5e-3, weight_decay=0.05),
        schedule=Schedule(warmup=100, decay=0.4, shape="cosine"),
        ema=0.99,
        evaluate_every=400,
        save_every=200,
    )


def text() -> Recipe:
    """The tokenizer and text encoder, contrasted against clips: a CLIP of this world."""
    return Recipe(
        name="text",
        task=TextTask(),
        parents=(oracle(),),
        steps=2_000,
        optimizer=AdamW(lr=1e-3, weight_decay=0.05),
        schedule=Schedule(warmup=100, decay=0.5, shape="cosine"),
        ema=0.995,
        precision="bf16",
        evaluate_every=500,
        save_every=250,
    )


def words() -> Recipe:
    """The text encoder gone on with, until words that say little of a clip are told apart too."""
    return Recipe(
        name="words",
        task=TextTask(),
        parents=(oracle(), text()),
        steps=2_500,
        optimizer=AdamW(lr=1e-3, weight_decay=0.05),
        schedule=Schedule(warmup=100, decay=0.9, shape="cosine"),
        ema=0.995,
        precision="bf16",
        seed=1,
        evaluate_every=500,
        save_every=250,
    )


def image() -> Recipe:
    """The text-to-image U-Net."""
    return Recipe(
        name="image",
        task=DenoiserTask(),
        parents=(autoencoder(), text()),
        steps=40_000,
        optimizer=AdamW(lr=1e-3),
        schedule=Schedule(warmup=200, decay=0.3, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        evaluate_every=4_000,
        save_every=1_000,
    )


def pieces() -> Recipe:
    """The text-to-image U-Net, gone on with where there is something to see: around things."""
    return Recipe(
        name="pieces",
        task=DenoiserTask(batch_size=64, time_shift=2.0, thing_weight=5.0, piece=8, seed=6),
        parents=(autoencoder(), text(), image()),
        steps=40_000,
        optimizer=Muon(lr=2e-3),
        schedule=Schedule(warmup=100, decay=0.5, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        seed=2,
        evaluate_every=2_000,
        save_every=500,
    )


def joint() -> Recipe:
    """The image U-Net inflated, then tuned on clips and stills jointly."""
    return Recipe(
        name="joint",
        task=DenoiserTask(clips=16_000, batch_size=4, time_shift=2.0, thing_weight=3.0),
        parents=(autoencoder(), words(), pieces()),
        steps=30_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=100, decay=0.3, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        evaluate_every=2_500,
        save_every=250,
    )


def even() -> Recipe:
    """The joint training gone on with, in smaller steps, all places alike."""
    return Recipe(
        name="even",
        task=DenoiserTask(clips=16_000, batch_size=4, time_shift=2.0, seed=5),
        parents=(autoencoder(), words(), joint()),
        steps=60_000,
        optimizer=Muon(lr=7e-4),
        schedule=Schedule(warmup=100, decay=0.7, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        seed=1,
        evaluate_every=2_500,
        save_every=250,
    )


def sparse() -> Recipe:
    """Many clips of few frames each, in noise that hides what moves how: there it is decided."""
    return Recipe(
        name="sparse",
        task=DenoiserTask(
            clips=16_000, batch_size=4, time_shift=8.0, thing_weight=3.0, stride=4, seed=15
        ),
        parents=(autoencoder(), words(), even()),
        steps=60_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=50, decay=0.3, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        seed=3,
        evaluate_every=1_000,
        save_every=250,
    )


def lavie() -> Recipe:
    """All frames of each clip again, all places alike."""
    return Recipe(
        name="lavie",
        task=DenoiserTask(clips=16_000, batch_size=4, time_shift=5.0, seed=25),
        parents=(autoencoder(), words(), sparse()),
        steps=60_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=50, decay=0.8, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        seed=4,
        evaluate_every=1_000,
        save_every=250,
    )


def directed() -> Recipe:
    """The U-Net told which frame is which, and shown things that go one way in much noise.

    A curriculum: only so does it find out, in minutes, that a caption says where a thing goes.
    """
    task = DenoiserTask(
        clips=16_000,
        images_per_clip=0,
        batch_size=8,
        lowest_time=900.0,
        thing_weight=3.0,
        stride=4,
        directed=True,
        frame_numbers=True,
        seed=55,
        samples=4,
    )
    return _told_frames("directed", task, lavie(), lr=2e-3, decay=0.3, ema=0.98, seed=7)


def placed() -> Recipe:
    """The U-Net that is told which frame is which, on all clips."""
    task = DenoiserTask(
        clips=16_000,
        batch_size=8,
        time_shift=8.0,
        thing_weight=3.0,
        stride=4,
        frame_numbers=True,
        seed=35,
        samples=8,
    )
    return _told_frames("placed", task, directed(), lr=2e-3, decay=0.4, ema=0.995, seed=5)


def base() -> Recipe:
    """The same U-Net on all frames of each clip, all places alike."""
    task = DenoiserTask(
        clips=16_000, batch_size=4, time_shift=5.0, frame_numbers=True, seed=45, samples=8
    )
    return _told_frames("base", task, placed(), lr=1e-3, decay=0.8, ema=0.998, seed=6)


def video() -> Recipe:
    """Whole clips, and every other frame of more, in turn, as in the run before the last."""
    task = DenoiserTask(
        clips=16_000,
        batch_size=8,
        time_shift=4.0,
        thing_weight=2.0,
        stride=2,
        frame_numbers=True,
        seed=65,
        samples=8,
    )
    return _told_frames("video", task, base(), lr=1.5e-3, decay=0.8, ema=0.998, seed=8)


def final() -> Recipe:
    """The same for longer, with less weight on things: too much of it and some come twice."""
    task = DenoiserTask(
        clips=16_000,
        batch_size=8,
        time_shift=4.0,
        thing_weight=1.5,
        stride=2,
        frame_numbers=True,
        seed=75,
        samples=8,
    )
    return _told_frames("final", task, video(), lr=1.5e-3, decay=0.8, ema=0.999, seed=9)


def _told_frames(
    name: str, task: DenoiserTask, start: Recipe, *, lr: float, decay: float, ema: float, seed: int
) -> Recipe:
    """A run that goes on from `start` with all clips, for as long as the clock allows."""
    return Recipe(
        name=name,
        task=task,
        parents=(autoencoder(), words(), start),
        steps=20_000,
        optimizer=Muon(lr=lr),
        schedule=Schedule(warmup=20, decay=decay, shape="cosine"),
        ema=ema,
        precision="bf16",
        parts=2,
        seed=seed,
        evaluate_every=1_000,
        save_every=200,
    )


def interpolation() -> Recipe:
    """LaVie's temporal interpolation: 16 key frames at 8 fps become 61 frames at 32 fps."""
    return Recipe(
        name="interpolation",
        task=InterpolationTask(clips=2_432),
        parents=(autoencoder(), words(), final()),
        steps=8_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=100, decay=0.5, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        evaluate_every=2_000,
        save_every=250,
    )


def first_frame() -> Recipe:
    """The base model that may be told what its clip begins with, for long videos and pictures."""
    return first_frame_of(autoencoder(), words(), final())


def autoencoder4() -> Recipe:
    """The f4 autoencoder of frames of 320x512, 8 latent channels."""
    return Recipe(
        name="autoencoder4",
        task=AutoencoderTask(
            patch=4,
            widths=(64,),
            latent_channels=8,
            batch_size=8,
            frame=320,
            piece=(80, 80),
            each=4,
            attention=False,
            seed=11,
            samples=16,
        ),
        steps=8_000,
        optimizer=Muon(lr=2e-3),
        schedule=Schedule(warmup=100, decay=0.4, shape="cosine"),
        ema=0.998,
        evaluate_every=2_000,
        save_every=1_000,
    )


def upscaler() -> Recipe:
    """The image upscaler, four times as high and wide: 80x128 becomes 320x512."""
    return Recipe(
        name="upscaler",
        task=SuperResolutionTask(),
        parents=(autoencoder4(), words()),
        steps=20_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=100, decay=0.5, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        evaluate_every=2_000,
        save_every=500,
    )


def super_resolution() -> Recipe:
    """LaVie's video super-resolution: the image upscaler, and layers over time."""
    return Recipe(
        name="super_resolution",
        task=SuperResolutionTask(
            num_frames=8,
            most_known=3,
            clips=640,
            cut=(28, 28),
            batch_size=4,
            trained="temporal",
            seed=9,
            samples=2,
        ),
        parents=(autoencoder4(), words(), upscaler()),
        steps=10_000,
        optimizer=Muon(lr=1e-3),
        schedule=Schedule(warmup=100, decay=0.5, shape="cosine"),
        ema=0.999,
        precision="bf16",
        parts=2,
        evaluate_every=1_000,
        save_every=250,
    )


def cascade() -> tuple[Recipe, ...]:
    """Every run of the whole cascade, parents first, each once."""
    links = (*first_frame().chain(), *interpolation().chain(), *super_resolution().chain())
    return tuple({link.name: link for link in links}.values())
