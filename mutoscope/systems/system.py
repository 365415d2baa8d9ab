"""System: what every cascade shares; seeds, checks before any work, the way out to pixels."""

import hashlib
import os
import re
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline
from einops import rearrange
from torch import Generator, Tensor, nn

from mutoscope.diffusion.windows import Window
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.identity import weights_hash
from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.cuts import Cuts, Decoding
from mutoscope.systems.pieces import Piece, joined
from mutoscope.systems.shelf import Shelf, put_away
from mutoscope.types import Latents, Size
from mutoscope.video.frames import to_bytes

OutputType = Literal["uint8", "pieces", "pt", "latent"]
Seeds = int | Sequence[int | Generator]
OnStage = Callable[[str, Latents], None]
"""Called as `on_stage(name, latents)` when a stage has finished."""

# A network without position embeddings in space draws larger frames than it learned, and rotary
# positions go on in time; but beyond this factor nothing it draws makes sense.
_FURTHEST = 4
_MOST_SHAPES = 64  # of one kind of block, in all networks and at all sizes


@dataclass(frozen=True, eq=False)
class VideoOutput:
    """Finished videos.

    Attributes:
        frames: By output type, "uint8": array B F H W 3; "pieces": the same a few frames at a
            time, B f H W 3, each decoded, and of enlarged videos drawn, when it is taken, and taken
            once; "pt": float tensor B F 3 H W in [0, 1], as diffusers pipelines return; "latent":
            scaled latents B C F H W.
        fps: Frames per second at which they are meant to be shown, Hz.
    """

    frames: np.ndarray | Iterator[Piece] | Tensor
    fps: float

    def save(
        self,
        path: str | Path,
        index: int = 0,
        metadata: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Writes one of the videos to a file; pieces are used up by that.

        Args:
            path: Ends in .mp4, .gif or .webp, or in nothing for a folder of pictures.
            index: Which video of the batch.
            metadata: JSON-like facts to store in the file.

        Raises:
            RequestError: The frames are tensors, or the file cannot be written.
        """
        from mutoscope.video.files import write_video

        if isinstance(self.frames, Tensor):
            raise RequestError(
                "tensors cannot be saved as a video: only output_type='uint8' and 'pieces' can. "
                "Ask for one of these."
            )
        pieces = [self.frames] if isinstance(self.frames, np.ndarray) else self.frames
        pictures = (picture for piece in pieces for picture in piece[index])
        write_video(Path(path), pictures, self.fps, metadata)


class System(DiffusionPipeline):
    """A cascade that turns prompts into videos; its components are flat, its stages are views.

    A subclass registers its components and records in its config how it was meant to be used:
    `num_frames`, `height`, `width`, `fps`, `steps`, `guidance_scale`, and `vocabulary`, the words
    it was trained on (empty where any word may be used).

    Attributes:
        paper: Which paper it is.
        shelf: Where components lie that are in memory only while they work; None where all are.
    """

    paper: str
    shelf: Shelf | None = None
    _hash: str = ""
    _hashed_versions: tuple[object, ...] | None = None

    @property
    @abstractmethod
    def stages(self) -> tuple[str, ...]:
        """The names of its stages, in the order in which they work."""

    @abstractmethod
    def spanned(self, num_keys: int, stages: Sequence[str]) -> int:
        """Frames of the video that the stages make of so many key frames."""

    def native_num_frames(self, stages: Sequence[str]) -> int:
        """Frames of a video as the stages learned to make it."""
        return self.spanned(self.config.num_frames, stages)

    @abstractmethod
    def native_fps(self, stages: Sequence[str]) -> float:
        """Frames per second at which what the stages make moves as fast as it was meant to, Hz."""

    def check_stages(self, stages: Sequence[str] | None) -> tuple[str, ...]:
        """The stages to run: the first so many, and all if None.

        Raises:
            RequestError: The system has no such stages, or not in this order.
        """
        asked = self.stages if stages is None else tuple(stages)
        if not asked or asked != self.stages[: len(asked)]:
            possible = " or ".join(
                ",".join(self.stages[: count + 1]) for count in range(len(self.stages))
            )
            raise RequestError(
                f"stages {','.join(asked)!r} cannot be run: each builds on the one before, so this "
                f"model runs {possible}. Use one of these."
            )
        return asked

    @abstractmethod
    def clips_of(self, num_frames: int, stages: Sequence[str]) -> list[Window]:
        """The clips of key frames that a long video of so many frames is drawn in.

        They may span more frames than it has.
        """

    @abstractmethod
    def most_frames(self, stages: Sequence[str]) -> int:
        """The most frames that the stages make of a long video."""

    @abstractmethod
    def load_lora(self, folder: str | Path) -> "System":
        """Teaches the system the word that `mutoscope personalize` learned; returns the system."""

    def compile_networks(self) -> None:
        """Has torch compile the blocks of all denoisers, each when it is first used.

        The first step then takes a minute or more, and so does the first of every other number and
        size of frames; all others take less time than before (`benchmarks/stages.py --compile`).
        Frames are the same but for rounding.

        Raises:
            RequestError: The weights are read anew each time, or there is no compiler.
        """
        if self.shelf is not None:
            raise RequestError(
                "networks that are read from disk each time cannot be compiled. Load the model "
                "without offload."
            )
        compiler = os.environ.get("CXX", "g++")
        if self.device.type == "cpu" and shutil.which(compiler) is None:
            raise RequestError(
                f"networks cannot be compiled here: that needs a C++ compiler, and {compiler} is "
                "not there. Install it, or set CXX."
            )
        # All blocks of a kind share their code, and there are as many versions of it as shapes.
        config = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, _MOST_SHAPES)
        for component in self.components.values():
            if isinstance(component, VideoUNet):
                component.compile_repeated_blocks()

    @abstractmethod
    def enlargement(self, stages: Sequence[str]) -> int:
        """How many times as high and wide as the key frames the stages make the video."""

    @property
    def native_size(self) -> Size:
        """The size of key frames that the system was trained at."""
        return Size(self.config.height, self.config.width)

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of a prompt that the system never saw in training, in order, each once."""
        known = set(self.config.vocabulary)
        words = re.findall(r"[^\W_]+(?:['-][^\W_]+)*", prompt.lower()) if known else []
        return [word for word in dict.fromkeys(words) if word not in known]

    def weights_hash(self) -> str:
        """Identity of all weights, in any precision that holds them exactly.

        Large models take minutes to hash, so that is done again only where a weight has changed.
        """
        modules = {n: each for n, each in self.components.items() if isinstance(each, nn.Module)}
        versions = tuple(
            (name, weight.dtype, weight.data_ptr(), weight._version)
            for name, module in modules.items()
            for weight in module.state_dict().values()
        )
        if versions != self._hashed_versions:
            self._hash = weights_hash(modules, at_work=self.at_work)
            self._hashed_versions = versions
        return self._hash

    def check_prompts(self, prompt: str | Sequence[str]) -> list[str]:
        """The prompts as a list.

        Raises:
            RequestError: There are none, or one says nothing.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts or not all(isinstance(p, str) and p.strip() for p in prompts):
            raise RequestError(
                "an empty prompt cannot be drawn: a prompt is a sentence that says what to show. "
                'Write e.g. "a red star drifts left over the sea at night".'
            )
        return prompts

    @abstractmethod
    def check_texts(
        self, prompts: Sequence[str], negative_prompt: str | None, stages: Sequence[str]
    ) -> None:
        """Finds out whether the text encoders can read all that they will be told.

        Args:
            prompts: What to show.
            negative_prompt: What to lead away from; None for what suits each stage.
            stages: Those that run.

        Raises:
            RequestError: One is too long.
        """

    @abstractmethod
    def check_noise_level(self, level: int) -> None:
        """Finds out whether the upscaler knows videos with so much noise.

        Raises:
            RequestError: It does not, or there is none.
        """

    def check_num_frames(self, num_frames: int, native: int) -> int:
        """The frame count, if the system can make it.

        Args:
            num_frames: What is asked for.
            native: Frames of the videos that the stages at work learned to make.

        Raises:
            RequestError: It is below 1 or far beyond what the system learned.
        """
        if not 1 <= num_frames <= _FURTHEST * native:
            raise RequestError(
                f"num_frames={num_frames} cannot be made: this model makes 1 (a still) to "
                f"{_FURTHEST * native} frames and is at its best with {native}. Use {native}."
            )
        return num_frames

    def check_size(self, size: Size, factor: int, native: Size) -> Size:
        """The frame size, if the system can make it.

        Args:
            size: What is asked for.
            factor: Both sides must be its multiples, in pixels.
            native: Size of the videos that the stages at work learned to make.

        Raises:
            RequestError: It is not on the grid, or far beyond what the system learned.
        """
        tallest, widest = _FURTHEST * native.height, _FURTHEST * native.width

        def nearest(length: int, most: int) -> int:
            return min(max(factor, round(length / factor) * factor), most // factor * factor)

        possible = Size(nearest(size.height, tallest), nearest(size.width, widest))
        if size != possible:
            raise RequestError(
                f"size {size} cannot be made: height and width are multiples of {factor} up to "
                f"{tallest}x{widest}, and {native} is best. The nearest is {possible}."
            )
        return size

    def generators(self, seeds: Seeds, count: int, *, stage: str = "") -> list[Generator]:
        """One generator per video, on the CPU so that every machine draws the same noise.

        Args:
            seeds: The first video's seed, from which the others count up; or one seed or generator
                per video.
            count: How many videos.
            stage: What the noise is for. Each stage has noise of its own from the same seed, which
                does not depend on whether the stages before it ran just now. Generators that were
                passed just go on.

        Raises:
            RequestError: Seeds and videos differ in number, or a seed is out of range.
        """
        each = list(range(seeds, seeds + count)) if isinstance(seeds, int) else list(seeds)
        if len(each) != count:
            raise RequestError(
                f"{len(each)} seeds do not fit {count} prompts: each video has its own. "
                f"Pass {count} seeds, or one number to count up from."
            )
        for seed in each:
            if isinstance(seed, int) and not 0 <= seed < 2**63:
                raise RequestError(f"seed={seed} cannot be used: seeds are 0 to 2^63 - 1. Use 0.")
        return [
            s if isinstance(s, Generator) else Generator().manual_seed(_seed_of(s, stage))
            for s in each
        ]

    @abstractmethod
    def usual_cuts(self) -> Cuts:
        """As much at once as the networks learned."""

    @contextmanager
    def at_work(self, *names: str) -> Iterator[None]:
        """Has these components in memory while the block runs, if they are kept on disk else."""
        if self.shelf is None:
            yield
            return
        modules = {name: getattr(self, name) for name in names}
        try:
            for name, module in modules.items():
                self.shelf.fetch(name, module)
            yield
        finally:
            for module in modules.values():
                put_away(module)

    def pieces(self, latents: Latents, decoding: Decoding | None = None) -> Iterator[Piece]:
        """Scaled latents as frames to look at, a few at a time, decoded when they are taken.

        Args:
            latents: Of whole videos.
            decoding: How many at a time, and whether in tiles; as usual if None.
        """
        decoding = decoding or self.usual_cuts().small
        with self.at_work("vae"):
            codec = LatentCodec(self.vae)
            for part in latents.split(decoding.frames, dim=2):
                # Whoever takes the pieces is not to find himself in inference mode.
                with torch.inference_mode():
                    piece = to_bytes(codec.decode(part, tile=decoding.tile))
                yield piece

    def finish(
        self, latents: Latents, output_type: OutputType, fps: float, decoding: Decoding
    ) -> VideoOutput:
        """Latents to what the caller asked for.

        Args:
            latents: Scaled latents of the finished videos.
            output_type: See `VideoOutput`.
            fps: Frame rate of the videos, Hz.
            decoding: How many frames at a time, and whether in tiles.
        """
        if output_type == "latent":
            return VideoOutput(latents, fps)
        if output_type in ("uint8", "pieces"):
            pieces = self.pieces(latents, decoding)
            return in_bytes(pieces, latents.shape[2], output_type, fps)
        parts = latents.split(decoding.frames, dim=2)
        with self.at_work("vae"):
            codec = LatentCodec(self.vae)
            videos = [codec.decode(part, tile=decoding.tile).float() for part in parts]
        unit = ((torch.cat(videos, dim=2) + 1) / 2).clamp(0, 1)
        return VideoOutput(rearrange(unit, "b c f h w -> b f c h w"), fps)


def in_bytes(
    pieces: Iterator[Piece], num_frames: int, output_type: OutputType, fps: float
) -> VideoOutput:
    """Pieces as they are, or joined.

    Args:
        pieces: Of finished videos.
        num_frames: Of all pieces together.
        output_type: "pieces" or "uint8".
        fps: Frame rate of the videos, Hz.
    """
    return VideoOutput(pieces if output_type == "pieces" else joined(pieces, num_frames), fps)


def _seed_of(seed: int, stage: str) -> int:
    """The seed itself for the first stage; for later ones another, made of it and their name."""
    if not stage:
        return seed
    digest = hashlib.sha256(f"{stage} {seed}".encode()).digest()
    return int.from_bytes(digest[:7])
