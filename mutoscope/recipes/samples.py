"""What a run shows of itself while it trains: figures on test scenes, and sheets to look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from mutoscope.data.batches import RenderedBatches, with_image_only_concepts
from mutoscope.data.sources import ClipSource
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.metrics.accuracy import score
from mutoscope.metrics.captions import probe_captions
from mutoscope.metrics.oracle import Oracle
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.types import Size, Video
from mutoscope.video.frames import to_bytes, to_floats
from mutoscope.video.sheets import contact_sheet, write_png
from mutoscope.world.factors import IMAGE_ONLY_SHAPES, LEVELS, Kind
from mutoscope.world.grammar import caption
from mutoscope.world.labels import UNKNOWN, labels
from mutoscope.world.render import render
from mutoscope.world.scene import Scene, draw_scene

Modules = Mapping[str, nn.Module]
Evaluate = Callable[[Modules, int, Path], Mapping[str, float]]
SIZE = Size(80, 128)
STEPS, GUIDANCE = 20, 4.0
AT_ONCE = 8


def scenes_to_test(count: int, kind: Kind, *, first: int = 0) -> list[Scene]:
    """The first test scenes of a kind, as drawn."""
    return [draw_scene(first + i, split="test", kind=kind) for i in range(count)]


def prompts_for(scenes: Sequence[Scene]) -> list[str]:
    """A caption of each, the levels of detail in turns."""
    return [caption(scene, level=LEVELS[i % len(LEVELS)], seed=i) for i, scene in enumerate(scenes)]


def pixels(scenes: Sequence[Scene], *, num_frames: int, fps: float, size: Size = SIZE) -> Video:
    """Renders as one tensor, pixels in [-1, 1]."""
    height, width = size.height, size.width
    frames = [
        render(scene, num_frames=num_frames, fps=fps, height=height, width=width)
        for scene in scenes
    ]
    return torch.stack([to_floats(each) for each in frames])


@dataclass(frozen=True)
class CodecSamples:
    """Reconstruction of stills: PSNR, and originals above reconstructions.

    Attributes:
        count: How many, at most.
        size: Of test stills of the world.
        stills: Where they come from instead; None for the world.
    """

    count: int
    size: Size = SIZE
    stills: ClipSource | None = None

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        codec, stills = LatentCodec(modules["vae"]), self.stills
        if stills is None:
            scenes = scenes_to_test(self.count, "image")
            video = pixels(scenes, num_frames=1, fps=8.0, size=self.size)
        else:
            shown = range(min(self.count, len(stills)))
            video = torch.stack([to_floats(stills.clip(number)[0]) for number in shown])
        with torch.inference_mode():
            again = codec.decode(codec.encode(video.to(codec.vae.device))).cpu().clamp(-1, 1)
        error = (again - video).square().mean(dim=(1, 2, 3, 4))
        rows = [to_bytes(part[:8, :, 0].transpose(0, 1)[None])[0] for part in (video, again)]
        sheet = contact_sheet(rows, ["original", "reconstruction"], num_columns=8)
        write_png(folder / "reconstructions.png", sheet)
        return {"psnr_db": float((-10 * torch.log10(error / 4)).mean())}


@dataclass(frozen=True)
class OracleSamples:
    """Accuracy of the oracle per factor on clean test clips."""

    count: int

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        oracle = modules["oracle"]
        scenes = scenes_to_test(self.count, "video")
        video = pixels(scenes, num_frames=8, fps=4.0)
        device = next(oracle.parameters()).device
        with torch.inference_mode():
            logits = [oracle(part.to(device)) for part in torch.split(video, 64)]
        figures = {}
        for name, truth in labels(scenes).items():
            seen = torch.cat([part[name] for part in logits]).argmax(dim=-1).cpu().numpy()
            figures[name] = float((seen == truth)[truth != UNKNOWN].mean())
        return figures


@dataclass(frozen=True)
class TextSamples:
    """Retrieval among 256 test clips, and linear probes of single-object captions."""

    tokenizer: PreTrainedTokenizerFast
    oracle: Oracle
    count: int
    probes: int

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        text = TextEncoder(modules["text_encoder"], self.tokenizer)
        batch = RenderedBatches(batch_size=self.count, num_frames=8, fps=4.0, seed=2**40)(0)
        with torch.inference_mode():
            summary = text.summarise(batch.captions)
            assert batch.video is not None
            features = self.oracle.encode(batch.video).flatten(1)
        figures = {"found_of_256": found(modules["head"], summary, features)}
        probed = probe_captions(text, count=self.probes)
        return figures | {f"probe_{name}": right for name, right in probed.items()}


@dataclass(frozen=True, eq=False)
class FoundSamples:
    """Retrieval among clips of the user's videos.

    Attributes:
        tokenizer: Of the text encoder.
        features: What the contrast knows of the clips.
        captions: One of each.
    """

    tokenizer: PreTrainedTokenizerFast
    features: Tensor
    captions: tuple[str, ...]

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        text = TextEncoder(modules["text_encoder"], self.tokenizer)
        with torch.inference_mode():
            summary = text.summarise(self.captions)
        return {f"found_of_{len(summary)}": found(modules["head"], summary, self.features)}


def found(head: nn.Module, summary: Tensor, features: Tensor) -> float:
    """Share of captions whose own clip is the most similar of all."""
    with torch.inference_mode():
        best = head.similarity(summary, features.to(summary.device)).argmax(dim=1)  # type: ignore[operator]
    return float((best.cpu() == torch.arange(len(best))).float().mean())


@dataclass(frozen=True)
class CaptionSamples:
    """Draws captions and writes a sheet: what a run on one's own videos shows of itself.

    Attributes:
        process: The noise law.
        text: The text encoder.
        codec: The autoencoder.
        num_frames: Frames of a clip; 1 draws stills.
        captions: What to draw.
    """

    process: VariancePreserving
    text: TextEncoder
    codec: LatentCodec
    num_frames: int
    captions: tuple[str, ...] = ()

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        self.draw(modules, self.captions, self.num_frames, folder / "captions.png")
        return {}

    def draw(self, modules: Modules, prompts: Sequence[str], num_frames: int, sheet: Path) -> Video:
        """Videos of the prompts (pixels in [-1, 1]); video i has seed i. Writes them as a sheet."""
        stage = KeyFrames(modules["network"], self.process, self.text)
        videos = []
        for start in range(0, len(prompts), AT_ONCE):
            part = list(prompts[start : start + AT_ONCE])
            latents = stage.sample(
                stage.describe(part),
                (self.codec.channels, num_frames, *self.codec.latent_size(SIZE)),
                scheduler=self.process.scheduler("dpm++"),
                steps=STEPS,
                guidance=TextGuidance(GUIDANCE),
                generators=[torch.Generator().manual_seed(start + i) for i in range(len(part))],
            )
            with torch.inference_mode():
                videos.append(self.codec.decode(latents).clamp(-1, 1).cpu())
        video = torch.cat(videos)
        columns = min(8, num_frames)
        write_png(sheet, contact_sheet(list(to_bytes(video)), list(prompts), num_columns=columns))
        return video


@dataclass(frozen=True)
class WorldSamples:
    """Draws test captions, and captions of image-only concepts, and has the oracle read them.

    The accuracy on image-only concepts shows forgetting as it happens. Without an oracle there are
    sheets and no figures.

    Attributes:
        draws: What draws a caption.
        oracle: What reads the drawing.
        fps: Frames per second of a clip.
        count: Test captions, and as many with image-only concepts.
        worth: What else is asked of the denoiser; see `mutoscope.recipes.worth`.
    """

    draws: CaptionSamples
    oracle: Oracle | None
    fps: float
    count: int
    worth: Callable[[KeyFrames], dict[str, float]]

    def __call__(self, modules: Modules, step: int, folder: Path) -> dict[str, float]:
        frames = self.draws.num_frames
        kind: Kind = "image" if frames == 1 else "video"
        known = [
            scene for scene in scenes_to_test(4 * self.count, kind) if is_known_in_video(scene)
        ]
        scores = self.scores(modules, known[: self.count], frames, folder / "test.png")
        figures = {name: float(np.mean([row[name] for row in scores])) for name in _names(scores)}
        new = scenes_of_one_concept(self.count, "image")
        scores = self.scores(modules, new, 1, folder / "image_only.png")
        for number, name in enumerate(("shape", "style")):
            if right := [row[name] for row in scores[number::2]]:
                figures[f"image_only_{name}"] = float(np.mean(right))
        draws = self.draws
        return figures | self.worth(KeyFrames(modules["network"], draws.process, draws.text))

    def scores(
        self, modules: Modules, scenes: Sequence[Scene], num_frames: int, sheet: Path
    ) -> list[dict[str, bool]]:
        """What the oracle reads right in drawings of the scenes' captions; [] without an oracle."""
        video = self.draws.draw(modules, prompts_for(scenes), num_frames, sheet)
        if self.oracle is None:
            return []
        device = next(self.oracle.parameters()).device
        readings = self.oracle.read(video.to(device), fps=self.fps)
        factors = ["background", "colour", "shape", "style"]
        factors += ["motion"] if num_frames > 1 else []
        return [score(s, r, factors) for s, r in zip(scenes, readings, strict=True)]


def scenes_of_one_concept(count: int, kind: Kind) -> list[Scene]:
    """Test scenes with one image-only concept each: shapes (even places) and styles take turns."""
    plain = [scene for scene in scenes_to_test(4 * count, kind, first=20_000)]
    scenes = []
    for number, scene in enumerate([s for s in plain if is_known_in_video(s)][:count]):
        changed = with_image_only_concepts(scene, np.random.default_rng(number), share=1.0)
        if number % 2 == 0:
            scenes.append(replace(changed, style="none"))
        else:
            scenes.append(replace(changed, things=scene.things))
    return scenes


def is_known_in_video(scene: Scene) -> bool:
    """Whether a scene has no image-only shape or style."""
    shapes = {thing.shape for thing in scene.things}
    return scene.style == "none" and not shapes & set(IMAGE_ONLY_SHAPES)


def _names(scores: Sequence[Mapping[str, bool]]) -> list[str]:
    return list(scores[0]) if scores else []
