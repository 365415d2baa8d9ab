"""What a word is worth to a denoiser: how much worse it predicts when a caption names another."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as numbers
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mutoscope.diffusion.process import Process
from mutoscope.encoding.codec import LatentCodec
from mutoscope.recipes.samples import AT_ONCE, is_known_in_video, pixels
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.types import Latents, Times
from mutoscope.world.factors import MOTIONS, SHAPES, Kind
from mutoscope.world.grammar import caption
from mutoscope.world.labels import MAX_THINGS, covers
from mutoscope.world.scene import Scene, draw_scene

FIRST_SCENE = 300_000
"""Far from the scenes whose captions are drawn in evaluations."""
# In less noise a clip shows by itself which way things move; in more, the spread from clip to clip
# doubles (docs/log.md, "where shape and motion are decided" and "the arrow of time").
DIRECTION_TIME = 900.0
DIRECTED = 4
_PAIRS = (
    ("right", "left"),
    ("up", "down"),
    ("up right", "down left"),
    ("up left", "down right"),
    ("grow", "shrink"),
    ("pan right", "pan left"),
)
BACKWARDS = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
"""What each motion and camera is called in a clip played backwards, where that is another."""


@dataclass(frozen=True)
class Worth:
    """Shows a denoiser noisy test clips under captions of which one is right.

    This needs no sampling and rises long before samples show anything: the first sign that a word
    is understood is that the error under it is smaller than under others. Only cells that show the
    thing count, for a shape or a motion is a small part of the error of a frame; but of direction
    all count, for it tells where a thing is not, too.

    Source: Li et al., "Your Diffusion Model is Secretly a Zero-Shot Classifier", arXiv 2303.16203.

    Attributes:
        codec: The autoencoder.
        num_frames: Frames of a clip; 1 for stills, of which motion is not asked.
        fps: Frame rate of a clip, Hz.
        count: Test scenes, each of one thing; direction, two captions long, is asked of `DIRECTED`
            times as many.
        time: How noisy they are shown; of direction, `DIRECTION_TIME`.
    """

    codec: LatentCodec
    num_frames: int
    fps: float
    count: int
    time: float = 700.0

    def __call__(self, stage: KeyFrames) -> dict[str, float]:
        """Of shape, and in clips motion: the "error" under right captions, what the word is "worth"
        (how much larger the error is on average over all captions), and in which share of scenes it
        is "told" (the right caption has the least error of all). Of clips also "direction_worth",
        how much larger the error is under the caption of the clip played backwards."""
        asked: dict[str, tuple[str, ...]] = {"shape": SHAPES}
        kind: Kind = "image"
        if self.num_frames > 1:
            asked, kind = asked | {"motion": MOTIONS}, "video"
        scenes, figures = single_scenes(self.count, kind), {}
        for name, values in asked.items():
            tellings = [partial(altered, name=name, value=value) for value in values]
            errors = self.errors(stage, scenes, tellings, time=self.time)
            grid = (errors.shape[-2], errors.shape[-1])
            cover = covers(scenes, num_frames=self.num_frames, fps=self.fps, grid=grid)
            shown = torch.from_numpy(cover != MAX_THINGS).to(errors)[:, None]
            errors = ((errors * shown).sum((2, 3, 4)) / shown.sum((2, 3, 4))).float().cpu()
            right = torch.tensor([values.index(getattr(s.things[0], name)) for s in scenes])
            under = errors.gather(1, right[:, None])[:, 0]
            figures[f"{name}_error"] = float(under.mean())
            figures[f"{name}_worth"] = float((errors.mean(dim=1) - under).mean())
            figures[f"{name}_told"] = float((errors.argmin(dim=1) == right).float().mean())
        if self.num_frames > 1:
            scenes = single_scenes(DIRECTED * self.count, kind, motions=BACKWARDS)
            errors = self.errors(stage, scenes, (forwards, backwards), time=DIRECTION_TIME)
            own, reverse = errors.float().mean((0, 2, 3, 4))
            figures["direction_worth"] = float(reverse - own)
        return figures

    def errors(
        self,
        stage: KeyFrames,
        scenes: Sequence[Scene],
        tellings: Sequence[Callable[[Scene], Scene]],
        *,
        time: float,
    ) -> Float[Tensor, "scenes tellings F h w"]:
        """Squared error of the prediction, mean over channels, of each scene told in several ways.

        Args:
            stage: The denoiser.
            scenes: What is shown.
            tellings: From the scene that is shown to the one that the caption describes.
            time: Of the noise, which is the same in every telling, or it would decide.
        """
        rows = []
        with torch.inference_mode():
            for first in range(0, len(scenes), AT_ONCE):
                part = scenes[first : first + AT_ONCE]
                noisy, target, now = self.in_noise(stage.process, part, time=time, seed=first)
                columns = []
                for tell in tellings:
                    words = [caption(tell(scene), level="full", seed=scene.seed) for scene in part]
                    error = stage.predict(noisy, now, stage.describe(words)) - target
                    columns.append(error.square().mean(dim=1))
                rows.append(torch.stack(columns, dim=1))
        return torch.cat(rows)

    def in_noise(
        self, process: Process, scenes: Sequence[Scene], *, time: float, seed: int
    ) -> tuple[Latents, Latents, Times]:
        """The scenes in the noise of a time, what a denoiser should predict, and their times."""
        clean = self.codec.encode(pixels(scenes, num_frames=self.num_frames, fps=self.fps))
        noise = torch.randn(clean.shape, generator=Generator().manual_seed(seed)).to(clean)
        now = torch.full((len(scenes),), time, device=clean.device)
        return process.add_noise(clean, noise, now), process.target(clean, noise, now), now


def single_scenes(
    count: int, kind: Kind, *, first: int = FIRST_SCENE, motions: Collection[str] = MOTIONS
) -> list[Scene]:
    """The first test scenes of one thing that moves in one of `motions` and may occur in clips."""
    drawn = (draw_scene(number, split="test", kind=kind) for number in numbers(first))
    known = (s for s in drawn if s.arrangement == "single" and is_known_in_video(s))
    return list(islice((s for s in known if s.things[0].motion in motions), count))


def altered(scene: Scene, name: str, value: str) -> Scene:
    """The scene as if its thing had another value of a factor."""
    change: dict[str, Any] = {name: value}
    return replace(scene, things=(replace(scene.things[0], **change),))


def backwards(scene: Scene) -> Scene:
    """The scene with the words of its clip played backwards; where things start stays."""
    things = tuple(replace(t, motion=BACKWARDS.get(t.motion, t.motion)) for t in scene.things)
    return replace(scene, camera=BACKWARDS.get(scene.camera, scene.camera), things=things)


def forwards(scene: Scene) -> Scene:
    """The scene as it is."""
    return scene
