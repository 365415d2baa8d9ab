"""What a word is worth to a denoiser: how much worse it predicts when a caption names another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mutoscope.encoding.codec import LatentCodec
from mutoscope.recipes.samples import AT_ONCE, pixels
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.world.factors import MOTIONS, SHAPES, Kind
from mutoscope.world.grammar import caption
from mutoscope.world.labels import MAX_THINGS, covers
from mutoscope.world.scene import Scene, draw_scene

FIRST_SCENE = 300_000
"""Far from the scenes whose captions are drawn in evaluations."""


@dataclass(frozen=True)
class Worth:
    """Shows a denoiser noisy test clips under captions of which one is right.

    This needs no sampling and rises long before samples show anything: the first sign that a word
    is understood is that the error under it is smaller than under others. Only cells that show the
    thing count, for a shape or a motion is a small part of the error of a frame.

    Source: Li et al., "Your Diffusion Model is Secretly a Zero-Shot Classifier", arXiv 2303.16203.

    Attributes:
        codec: The autoencoder.
        num_frames: Frames of a clip; 1 for stills, of which motion is not asked.
        fps: Frame rate of a clip, Hz.
        count: Test scenes, each of one thing.
        time: How noisy they are shown.
    """

    codec: LatentCodec
    num_frames: int
    fps: float
    count: int
    time: float = 700.0

    def __call__(self, stage: KeyFrames) -> dict[str, float]:
        """Of shape, and in clips motion: the "error" under right captions, what the word is "worth"
        (how much larger the error is on average over all captions), and in which share of scenes it
        is "told" (the right caption has the least error of all)."""
        asked: dict[str, tuple[str, ...]] = {"shape": SHAPES}
        if self.num_frames > 1:
            asked["motion"] = MOTIONS
        scenes, figures = self.scenes(), {}
        for name, values in asked.items():
            errors = self.errors(stage, scenes, name, values)
            right = torch.tensor([values.index(getattr(s.things[0], name)) for s in scenes])
            under = errors.gather(1, right[:, None])[:, 0]
            figures[f"{name}_error"] = float(under.mean())
            figures[f"{name}_worth"] = float((errors.mean(dim=1) - under).mean())
            figures[f"{name}_told"] = float((errors.argmin(dim=1) == right).float().mean())
        return figures

    def scenes(self) -> list[Scene]:
        """The first test scenes of one thing that may occur in clips."""
        found: list[Scene] = []
        number = FIRST_SCENE
        kind: Kind = "video" if self.num_frames > 1 else "image"
        while len(found) < self.count:
            scene = draw_scene(number, split="test", kind=kind)
            known = scene.style == "none" and scene.things[0].shape in SHAPES
            found += [scene] if known and scene.arrangement == "single" else []
            number += 1
        return found

    def errors(
        self, stage: KeyFrames, scenes: Sequence[Scene], name: str, values: Sequence[str]
    ) -> Float[Tensor, "scenes values"]:
        """Mean squared error of the prediction under captions that name each value of a factor."""
        rows = []
        with torch.inference_mode():
            for first in range(0, len(scenes), AT_ONCE):
                part = scenes[first : first + AT_ONCE]
                clean = self.codec.encode(pixels(part, num_frames=self.num_frames, fps=self.fps))
                # The same noise under every caption, or the noise would decide.
                noise = torch.randn(clean.shape, generator=Generator().manual_seed(first)).to(clean)
                time = torch.full((len(part),), self.time, device=clean.device)
                noisy = stage.process.add_noise(clean, noise, time)
                target = stage.process.target(clean, noise, time)
                grid = (clean.shape[-2], clean.shape[-1])
                cover = covers(part, num_frames=self.num_frames, fps=self.fps, grid=grid)
                shown = torch.from_numpy(cover != MAX_THINGS).to(clean)
                columns = []
                for value in values:
                    told = stage.describe([named(scene, name, value) for scene in part])
                    error = (stage.predict(noisy, time, told) - target).square().mean(dim=1)
                    columns.append((error * shown).sum((1, 2, 3)) / shown.sum((1, 2, 3)))
                rows.append(torch.stack(columns, dim=1))
        return torch.cat(rows).float().cpu()


def named(scene: Scene, name: str, value: str) -> str:
    """The caption of a scene as if its thing had another value of a factor."""
    change: dict[str, Any] = {name: value}
    thing = replace(scene.things[0], **change)
    return caption(replace(scene, things=(thing,)), level="full", seed=scene.seed)
