"""What a run of the interpolation shows of itself: frames it fills in, beside two simple ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from mutoscope.data.sources import ClipSource, Frames
from mutoscope.diffusion.guidance import Unguided
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.metrics.between import between_keys, blended, psnr, speed
from mutoscope.recipes.samples import Modules, scenes_to_test
from mutoscope.stages.interpolation import Interpolation, spread
from mutoscope.types import Video
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.grammar import caption
from mutoscope.world.render import render, render_truth

ON_SHEET = 4
STEPS = 8
CHANGE = 10


@dataclass(frozen=True)
class Example:
    """A clip to take key frames from and to compare with.

    Attributes:
        frames: At the high rate, uint8 F H W 3.
        caption: What it shows.
        regions: Where figures look, by name, F H W.
    """

    frames: Frames
    caption: str
    regions: Mapping[str, Bool[Tensor, "F H W"]]


def world_examples(count: int, *, factor: int, num_frames: int, fps: float) -> list[Example]:
    """The first test clips, with their truth: what moves at all, and what moves fast.

    A sky that drifts by a tenth of a pixel moves as well, and fills most of a frame; what moves by
    a pixel or more from key frame to key frame is what repetition and blending fail at.
    """
    examples = []
    for number, scene in enumerate(scenes_to_test(count, "video")):
        truth = render_truth(scene, num_frames=num_frames, fps=fps)
        moved = speed(torch.from_numpy(truth.flow)[None])[0]
        examples.append(
            Example(
                render(scene, num_frames=num_frames, fps=fps),
                caption(scene, level="full", seed=number),
                {"moving": moved > 0, "fast": moved * factor >= 1},
            )
        )
    return examples


def source_examples(source: ClipSource, count: int, *, factor: int) -> list[Example]:
    """The first clips of a source whose true motion is unknown.

    "frame" is every pixel, which says little of clips where hardly anything moves; "changing" are
    those between key frames that differ there by more than ten of 255 levels.
    """
    examples = []
    for number in range(min(count, len(source))):
        frames, captions = source.clip(number)
        regions = {
            "frame": torch.ones(frames.shape[:3], dtype=torch.bool),
            "changing": _changing(frames, factor),
        }
        examples.append(Example(frames, captions[0], regions))
    return examples


def _changing(frames: Frames, factor: int) -> Bool[Tensor, "F H W"]:
    """Pixels of each frame that are not alike in the key frames before and after it."""
    keys = torch.from_numpy(frames[::factor]).float()
    changed = (keys[1:] - keys[:-1]).abs().mean(dim=-1) > CHANGE
    whole = changed.repeat_interleave(factor, dim=0)
    return torch.cat([whole, changed[-1:]])


@dataclass(frozen=True)
class InterpolationSamples:
    """Takes key frames from clips, fills in what lies between, and compares with what did.

    The figures are PSNRs of the frames between key frames, over regions of what moves, beside those
    of showing each key frame until the next is nearer and of blending neighbours. Truth and key
    frames have been through the autoencoder, so that its errors are held against none of the three.

    Attributes:
        process: The noise law.
        text: The text encoder.
        codec: The autoencoder.
        factor: Frames from one key frame to the next.
        examples: The clips, of factor (K - 1) + 1 frames each; number i is drawn from seed i.
        steps: In which they are drawn.
    """

    process: VariancePreserving
    text: TextEncoder
    codec: LatentCodec
    factor: int
    examples: Sequence[Example]
    steps: int = STEPS

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        stage = Interpolation(modules["network"], self.process, self.text, factor=self.factor)
        found: dict[str, list[Tensor]] = {}
        clips, titles = [], []
        for seed, example in enumerate(self.examples):
            truth, ways = self.fill_in(stage, example, seed)
            between = between_keys(len(example.frames), factor=self.factor)
            for region, where in example.regions.items():
                counted = (where & between[:, None, None])[None]
                for way, video in ways.items():
                    name = f"{way}_{region}_psnr_db"
                    found.setdefault(name, []).append(psnr(video, truth, counted))
            if seed < ON_SHEET:
                clips += [self._middle(video) for video in (truth, *ways.values())]
                titles += [f"{example.caption}: truth", *ways]
        write_png(folder / "between.png", contact_sheet(clips, titles, num_columns=len(clips[0])))
        # A clip in which nothing moves has no figure.
        return {name: float(torch.cat(each).nanmean()) for name, each in found.items()}

    def fill_in(
        self, stage: Interpolation, example: Example, seed: int
    ) -> tuple[Video, dict[str, Video]]:
        """The truth as the autoencoder shows it (1 3 F H W), and the three ways of filling in."""
        with torch.inference_mode():
            latents = self.codec.encode(to_floats(example.frames)[None])
            truth = self._pixels(latents)
        drawn = stage.sample(
            stage.knowing(stage.describe([example.caption]), latents[:, :, :: self.factor]),
            (latents.shape[1], latents.shape[2], latents.shape[3], latents.shape[4]),
            scheduler=self.process.scheduler("dpm++"),
            steps=self.steps,
            guidance=Unguided(),
            generators=[torch.Generator().manual_seed(seed)],
        )
        keys = truth[:, :, :: self.factor]
        return truth, {
            "interpolated": self._pixels(drawn),
            "repeated": spread(keys, factor=self.factor),
            "blended": blended(keys, factor=self.factor),
        }

    def _pixels(self, latents: Tensor) -> Video:
        with torch.inference_mode():
            return self.codec.decode(latents).clamp(-1, 1).cpu()

    def _middle(self, video: Video) -> Frames:
        """Three key frames from the middle of a clip (1 3 F H W), and the frames between them."""
        frames = to_bytes(video)[0]
        first = (len(frames) - 1) // self.factor // 2 * self.factor
        shown: Frames = frames[first : first + 2 * self.factor + 1]
        return shown
