"""A small set of the best clips of a source, by how sharp they are and how well captions fit.

LaVie ends with about 2,000 clips chosen by visual quality and by how well text and video fit
(LaVie-QT). Here quality is fine detail, and text and video are compared by the contrast head that
the text encoder was trained with, on what the oracle sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from mutoscope.data.cache import ChosenClips, LatentCache
from mutoscope.data.sources import ClipSource
from mutoscope.encoding.text import Contrast, TextEncoder
from mutoscope.errors import RequestError
from mutoscope.metrics.oracle import Oracle, frames_to_read
from mutoscope.metrics.sharpness import sharpness
from mutoscope.recipes.parents import latent_cache
from mutoscope.types import Video

TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Judge:
    """What the filters need to see of a clip, as an encoder whose answers can be cached.

    Attributes:
        oracle: What sees the clip.
        fps: Frames per second of the clips.
    """

    oracle: Oracle
    fps: float

    def hash(self) -> str:
        """Identity of the oracle and of what is measured."""
        return f"{self.oracle.hash()}-sharp-{self.fps:g}"

    def encode(self, video: Video) -> Tensor:
        """The oracle's features and, last, the logarithm of sharpness, B (3D + 1) 1 1 1."""
        seen = self.oracle.encode(frames_to_read(video, fps=self.fps)).cpu()
        return torch.cat([seen, sharpness(video).cpu()[:, None, None, None, None]], dim=1)


def load_contrast(folder: Path, text: TextEncoder, oracle: Oracle) -> Contrast:
    """The frozen head that `TextTask` left in `folder`, for its text encoder and its oracle."""
    state = load_file(folder / "contrast.safetensors")
    head = Contrast(text.model.config.hidden_size, oracle.features, len(state["text.weight"]))
    head.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return head.eval().requires_grad_(False)


def alignment(text: TextEncoder, head: Contrast, seen: LatentCache) -> NDArray[np.float64]:
    """How well each clip's captions fit it: the mean cosine that the contrast was trained on.

    Args:
        text: The text encoder.
        head: Its contrast head.
        seen: The clips as a `Judge` sees them.
    """
    fits = []
    device = head.text.weight.device
    for number in range(len(seen)):
        captions = seen.captions(number)
        features = seen.latents([number]).flatten(1)[:, :-1].to(device)
        with torch.inference_mode():
            told = torch.cat(
                [
                    text.summarise(captions[first : first + TEXTS_AT_ONCE])
                    for first in range(0, len(captions), TEXTS_AT_ONCE)
                ]
            )
            cosines = _cosines(head, told, features)
        fits.append(float(cosines.mean()))
    return np.array(fits)


def best(measures: Sequence[NDArray[np.float64]], count: int) -> tuple[int, ...]:
    """Numbers of the clips that are best by the worse of their ranks, in rising order.

    A clip that is sharp and badly told is no better than one that is well told and blurred.

    Args:
        measures: For each filter, a figure per clip, higher is better.
        count: Clips to keep.

    Raises:
        RequestError: There are fewer clips, or none are to be kept.
    """
    clips = len(measures[0])
    if not 1 <= count <= clips:
        raise RequestError(
            f"{count} clips cannot be chosen from {clips}: at least 1, and at most all of them. "
            "Choose fewer, or give more clips to choose from."
        )
    ranks = [np.argsort(np.argsort(measure, kind="stable"), kind="stable") for measure in measures]
    worst = np.minimum.reduce(ranks)
    return tuple(sorted(np.argsort(-worst, kind="stable")[:count].tolist()))


def chosen_clips(
    clips: LatentCache,
    source: ClipSource,
    *,
    text: TextEncoder,
    head: Contrast,
    judge: Judge,
    count: int,
    work: Path,
) -> ChosenClips:
    """The best clips of a cache, chosen by sharpness and by how well their captions fit.

    Args:
        clips: All clips, encoded.
        source: The same clips.
        text: The text encoder.
        head: Its contrast head.
        judge: What sees the clips.
        count: Clips to keep.
        work: Where what the judge saw is cached.
    """
    seen = latent_cache(source, judge, work)
    sharp = seen.latents(range(len(seen)))[:, -1].flatten().numpy().astype(np.float64)
    numbers = best([sharp, alignment(text, head, seen)], count)
    return ChosenClips(clips, numbers, slice(None))


def _cosines(head: Contrast, told: Tensor, features: Tensor) -> Tensor:
    text = functional.normalize(head.text(told.to(features.device)), dim=-1)
    return text @ functional.normalize(head.video(features), dim=-1).T
