"""Training batches by number: batch `i` is a function of `i`, so a run's position is one number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from mutoscope.data.cache import ChosenClips, LatentCache
from mutoscope.data.sources import ClipSource, Frames
from mutoscope.errors import RequestError
from mutoscope.types import Batch
from mutoscope.video.frames import to_floats
from mutoscope.world import factors as world
from mutoscope.world.factors import LEVELS
from mutoscope.world.grammar import caption
from mutoscope.world.labels import courses, covers, labels
from mutoscope.world.render import render
from mutoscope.world.scene import Scene, draw_scene


def shuffled(count: int, batch_size: int, number: int, seed: int) -> list[int]:
    """Members of batch `number` when `count` clips are shuffled anew in every epoch but the first.

    Clips of a source come in no particular order; taken as they come, in the first epoch they are
    encoded as they are needed.
    """
    members: list[int] = []
    for position in range(number * batch_size, (number + 1) * batch_size):
        epoch, place = divmod(position, count)
        members.append(int(_order(count, epoch, seed)[place]))
    return members


@lru_cache(maxsize=8)
def _order(count: int, epoch: int, seed: int) -> np.ndarray:
    if epoch == 0:
        return np.arange(count)
    return np.random.default_rng([seed, epoch, count]).permutation(count)


def pick_captions(
    cache: LatentCache | ChosenClips, members: Sequence[int], draw: np.random.Generator
) -> list[str]:
    """One of each clip's captions, at random."""
    texts = [cache.captions(member) for member in members]
    return [options[draw.integers(len(options))] for options in texts]


def every_fourth(
    fourth: Callable[[int], Batch], others: Callable[[int], Batch]
) -> Callable[[int], Batch]:
    """Three batches of one kind, then one of another; each kind is numbered without gaps."""

    def batches(number: int) -> Batch:
        turn, place = divmod(number, 4)
        return fourth(turn) if place == 3 else others(3 * turn + place)

    return batches


@dataclass(frozen=True)
class LatentBatches:
    """Batches of cached clips, or of stills.

    Where the source knows them, `labels["things"]` says which cells show a thing (B F h w).
    """

    cache: LatentCache | ChosenClips
    batch_size: int
    seed: int

    def __call__(self, number: int) -> Batch:
        members = shuffled(len(self.cache), self.batch_size, number, self.seed)
        draw = np.random.default_rng([self.seed, number, 1])
        things = self.cache.things(members)
        return Batch(
            captions=tuple(pick_captions(self.cache, members, draw)),
            latents=self.cache.latents(members),
            labels={} if things is None else {"things": things},
        )


@dataclass(frozen=True)
class PieceBatches:
    """Batches of square pieces of cached clips, each with one of its clip's things in it.

    Most of a frame is background. A piece costs less than a frame and shows as much of a thing.

    Attributes:
        whole: Batches of whole frames.
        side: Side of a piece in latent cells.
        seed: Of where pieces are cut.
    """

    whole: Callable[[int], Batch]
    side: int
    seed: int

    def __call__(self, number: int) -> Batch:
        batch = self.whole(number)
        draw = np.random.default_rng([self.seed, number, 3])
        things = batch.labels.get("things")
        assert batch.latents is not None
        height, width = batch.latents.shape[-2:]
        latents, masks = [], []
        for row, clip in enumerate(batch.latents):
            seen = torch.zeros(0, 2) if things is None else things[row, 0].nonzero()
            spot = (height // 2, width // 2)
            if len(seen):
                y, x = seen[int(draw.integers(len(seen)))].tolist()
                spot = (int(y), int(x))
            top, left = (
                int(np.clip(place - draw.integers(self.side), 0, max(0, extent - self.side)))
                for place, extent in zip(spot, (height, width), strict=True)
            )
            window = (..., slice(top, top + self.side), slice(left, left + self.side))
            latents.append(clip[window])
            masks += [] if things is None else [things[row][window]]
        labels = {"things": torch.stack(masks)} if masks else {}
        return replace(batch, latents=torch.stack(latents), labels=labels)


@dataclass(frozen=True)
class JointBatches:
    """Batches of cached clips, with M cached stills beside each (LaVie §4.1: M = 4).

    `labels["things"]` and `labels["image_things"]` are as `LatentBatches` has them.
    """

    clips: LatentCache | ChosenClips
    images: LatentCache
    batch_size: int
    images_per_clip: int
    seed: int

    def __call__(self, number: int) -> Batch:
        batch = LatentBatches(self.clips, self.batch_size, self.seed)(number)
        count = self.batch_size * self.images_per_clip
        members = shuffled(len(self.images), count, number, self.seed + 1)
        texts = pick_captions(self.images, members, np.random.default_rng([self.seed, number, 2]))
        stills = self.images.latents(members)[:, :, 0]
        things = self.images.things(members)
        per_clip = self.images_per_clip
        labels = dict(batch.labels)
        if things is not None:
            labels["image_things"] = rearrange(things[:, 0], "(b m) h w -> b m h w", m=per_clip)
        return replace(
            batch,
            image_captions=tuple(
                tuple(texts[row * per_clip : (row + 1) * per_clip])
                for row in range(self.batch_size)
            ),
            image_latents=rearrange(stills, "(b m) c h w -> b c m h w", m=per_clip),
            labels=labels,
        )


@dataclass(frozen=True)
class OwnBatches:
    """Batches of one's own pictures, and others after them; `labels["own"]` says which are which.

    Attributes:
        own: Batches of stills.
        others: Batches of stills of the same size; None for none.
    """

    own: Callable[[int], Batch]
    others: Callable[[int], Batch] | None

    def __call__(self, number: int) -> Batch:
        parts = [self.own(number), *([] if self.others is None else [self.others(number)])]
        latents = [part.latents for part in parts if part.latents is not None]
        captions = tuple(text for part in parts for text in part.captions)
        mine = torch.arange(len(captions)) < len(parts[0].captions)
        return Batch(captions=captions, latents=torch.cat(latents), labels={"own": mine})


@dataclass(frozen=True)
class SparseBatches:
    """Batches of clips of which only every so many frames are given, from a random one on.

    Neighbouring frames show nearly the same: half of the frames of twice as many clips teach more
    of how things move for the same work. The network is told how far frames are apart.

    Attributes:
        whole: Batches of whole clips.
        stride: Frames from one that is given to the next.
        seed: Of the first frames.
    """

    whole: Callable[[int], Batch]
    stride: int
    seed: int

    def __call__(self, number: int) -> Batch:
        batch = self.whole(number)
        assert batch.latents is not None
        draw = np.random.default_rng([self.seed, number, 4])
        first = int(draw.integers(self.stride))
        frames = slice(first, None, self.stride)
        labels = dict(batch.labels)
        if "things" in labels:
            labels["things"] = labels["things"][:, frames]
        return replace(
            batch,
            latents=batch.latents[:, :, frames],
            labels=labels,
            frame_stride=self.stride * batch.frame_stride,
            first_frame=batch.first_frame + first * batch.frame_stride,
        )


@dataclass(frozen=True, eq=False)
class AlikeBatches:
    """Batches of clips that are alike in some ways and must be told apart by the others.

    Among clips drawn at random background, colour and shape already tell nearly all apart, and a
    contrast learns nothing of motion from them. Hard negatives: Robinson et al., arXiv 2010.04592.

    Attributes:
        cache: Features of the clips.
        alike: Ways to sort the clips, one class number per clip (ways, N); batches use them in
            turn, and all clips of a batch are of one class where that has enough.
        batch_size: Clips a batch.
        seed: Of the order.
    """

    cache: LatentCache
    alike: NDArray[np.int64]
    batch_size: int
    seed: int

    def __call__(self, number: int) -> Batch:
        draw = np.random.default_rng([self.seed, number])
        classes = self.alike[number % len(self.alike)]
        same = np.flatnonzero(classes == classes[draw.integers(len(classes))])
        if len(same) < self.batch_size:
            others = np.setdiff1d(np.arange(len(classes)), same)
            missing = self.batch_size - len(same)
            same = np.concatenate([same, draw.choice(others, missing, replace=False)])
        members = draw.choice(same, self.batch_size, replace=False).tolist()
        return Batch(
            captions=tuple(pick_captions(self.cache, members, draw)),
            features=self.cache.latents(members).flatten(1),
        )


@dataclass(frozen=True, kw_only=True)
class RenderedBatches:
    """Batches of freshly rendered scenes, with captions and labels; no scene comes twice.

    Attributes:
        batch_size: Scenes a batch of clips.
        num_frames: Frames of a clip.
        fps: Frames per second of the scenes' time.
        height: Pixels.
        width: Pixels.
        stills_every: Every so many batches hold stills instead of clips; 0 for never.
        stills: Scenes in such a batch: a still costs less than a clip and shows as many looks.
        all_concepts: Whether held-out combinations and image-only concepts occur, in clips too:
            what reads the world must know all of it, what draws it must not have seen them.
        seed: Start of the range of scene seeds.
    """

    batch_size: int
    num_frames: int
    fps: float = 8.0
    height: int = 80
    width: int = 128
    stills_every: int = 0
    stills: int = 0
    all_concepts: bool = False
    seed: int = 0

    def __call__(self, number: int) -> Batch:
        still = self.num_frames == 1 or (
            self.stills_every > 0 and number % self.stills_every == self.stills_every - 1
        )
        count = self.stills if still and self.stills else self.batch_size
        first = self.seed + number * max(self.stills, self.batch_size)
        scenes = [self.scene(first + row, still=still) for row in range(count)]
        return Batch(
            captions=tuple(
                caption(scene, level=LEVELS[(number + row) % len(LEVELS)], seed=number)
                for row, scene in enumerate(scenes)
            ),
            video=self.pixels(scenes, 1 if still else self.num_frames),
            labels=self.labels(scenes, 1 if still else self.num_frames),
        )

    def labels(self, scenes: Sequence[Scene], num_frames: int) -> dict[str, Tensor]:
        """Class numbers of every factor, what lies at each place, and where things are."""
        table = {name: torch.from_numpy(array) for name, array in labels(scenes).items()}
        for name, law in (("covers", covers), ("courses", courses)):
            table[name] = torch.from_numpy(law(scenes, num_frames=num_frames, fps=self.fps))
        return table

    def scene(self, seed: int, *, still: bool) -> Scene:
        """The scene of one seed; with all concepts, a fifth of the clips has image-only ones."""
        draw = np.random.default_rng([self.seed, seed])
        held_out = self.all_concepts and draw.random() < 0.3
        scene = draw_scene(
            seed, split="held-out" if held_out else "train", kind="image" if still else "video"
        )
        if self.all_concepts and not still:
            scene = with_image_only_concepts(scene, draw, share=0.2)
        return scene

    def pixels(self, scenes: Sequence[Scene], num_frames: int) -> Tensor:
        """The rendered scenes as one video tensor in [-1, 1]."""
        clips = [
            render(scene, num_frames=num_frames, fps=self.fps, height=self.height, width=self.width)
            for scene in scenes
        ]
        return torch.stack([to_floats(frames) for frames in clips])


@dataclass(frozen=True, kw_only=True)
class CropBatches:
    """Pieces of freshly rendered stills around objects, where the detail is.

    Rendering a large still takes longer than a step on pieces of it, so one may give several.

    Attributes:
        batch_size: Pieces a batch.
        height, width: Of a piece, in pixels of the frame.
        frame: Height of the frame; it is 1.6 times as wide.
        each: Pieces of each still; the first lies around an object, the others anywhere.
        seed: Start of the range of scene seeds.

    Raises:
        RequestError: A batch does not hold all pieces of its stills.
    """

    batch_size: int
    height: int
    width: int
    frame: int = 80
    each: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size % self.each:
            raise RequestError(
                f"a batch of {self.batch_size} cannot hold {self.each} pieces of every still. Use "
                f"a multiple of {self.each}."
            )

    def __call__(self, number: int) -> Batch:
        stills = self.batch_size // self.each
        first = self.seed + number * stills
        pieces = [piece for seed in range(first, first + stills) for piece in self.pieces(seed)]
        return Batch(video=torch.stack([to_floats(piece) for piece in pieces]))

    def pieces(self, seed: int) -> list[Frames]:
        """The pieces of a seed's still (1 H W 3); in the middle part of the first lies an object's
        centre."""
        scene = draw_scene(seed, split="train", kind="image")
        draw = np.random.default_rng([self.seed, seed])
        thing = scene.things[draw.integers(len(scene.things))]
        across = round(world.ASPECT * self.frame)
        top = self.frame * thing.y - self.height * draw.uniform(1 / 6, 5 / 6)
        left = self.frame * thing.x - self.width * draw.uniform(1 / 6, 5 / 6)
        lowest, farthest = self.frame - self.height, across - self.width
        corners = [(int(np.clip(top, 0, lowest)), int(np.clip(left, 0, farthest)))]
        for _ in range(self.each - 1):
            corners.append((int(draw.integers(lowest + 1)), int(draw.integers(farthest + 1))))
        still = render(scene, num_frames=1, height=self.frame, width=across)
        return [still[:, y : y + self.height, x : x + self.width] for y, x in corners]


@dataclass(frozen=True, kw_only=True)
class FootageCrops:
    """Pieces of single frames of a source, from anywhere in them.

    Attributes:
        source: Of stills.
        batch_size: Pieces a batch; a multiple of `each`.
        height, width: Of a piece, in pixels; at most those of the frames.
        each: Pieces of each frame.
        seed: Of the order and of the places.
    """

    source: ClipSource
    batch_size: int
    height: int
    width: int
    each: int = 1
    seed: int = 0

    def __call__(self, number: int) -> Batch:
        members = shuffled(len(self.source), self.batch_size // self.each, number, self.seed)
        draw = np.random.default_rng([self.seed, number, 5])
        pieces = []
        for frames in (self.source.clip(member)[0] for member in members):
            for _ in range(self.each):
                top = draw.integers(frames.shape[1] - self.height + 1)
                left = draw.integers(frames.shape[2] - self.width + 1)
                piece = frames[:, top : top + self.height, left : left + self.width]
                pieces.append(to_floats(piece))
        return Batch(video=torch.stack(pieces))


def with_image_only_concepts(scene: Scene, draw: np.random.Generator, *, share: float) -> Scene:
    """The scene, at `share` with an image-only shape for its first object, or style, or both."""
    if draw.random() < share:
        shape = str(draw.choice(world.IMAGE_ONLY_SHAPES))
        scene = replace(scene, things=(replace(scene.things[0], shape=shape), *scene.things[1:]))
    if draw.random() < share:
        scene = replace(scene, style=str(draw.choice(world.STYLES[1:])))
    return scene
