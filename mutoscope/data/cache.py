"""Latents encoded once: a folder of parts, each made when it is first asked for."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from mutoscope.data.sources import ClipSource, Frames
from mutoscope.types import Latents, Video
from mutoscope.video.frames import to_floats

PART = 64
FRAMES_AT_ONCE = 64

Clip = tuple[Frames, tuple[str, ...]]


@runtime_checkable
class Encoder(Protocol):
    """What the cache needs of a codec, or of any other frozen network that sees videos."""

    def hash(self) -> str:
        """Identity of the weights; what is cached under one is never taken for another's."""
        ...

    def encode(self, video: Video) -> Latents:
        """Latents of videos with pixels in [-1, 1], which may lie on any device."""
        ...


class LatentCache:
    """Latents (float16, N C F h w) and captions of the clips of a source.

    A part of 64 clips is rendered or read, encoded and written when one of its clips is first
    needed; from then on, in this run and in all later ones, it is read from memory maps. While a
    part is encoded here, other processes already make the clips of the next.

    Args:
        folder: Parent of caches; this one's folder is named by the source's and encoder's hashes
            and the size of a part, so latents are never taken for others than they are.
        source: The clips.
        encoder: The autoencoder, or another frozen network.
        processes: Processes that render or read; 1 does it in this one.
    """

    def __init__(
        self, folder: Path, source: ClipSource, encoder: Encoder, *, processes: int
    ) -> None:
        self.folder = folder / f"{source.key()}-{encoder.hash()}-{PART}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.source = source
        self.encoder = encoder
        self.processes = processes
        self._latents: dict[int, np.ndarray] = {}
        self._captions: dict[int, list[tuple[str, ...]]] = {}
        self._ahead: dict[int, list[Future[Clip]]] = {}
        self._pool: Executor | None = None

    def __len__(self) -> int:
        return len(self.source)

    def latents(self, indices: Sequence[int]) -> Latents:
        """Latents of the clips `indices`, float32, B C F h w."""
        rows = []
        for index in indices:
            part, row = divmod(index, PART)
            self._open(part)
            rows.append(self._latents[part][row])
        return torch.from_numpy(np.stack(rows)).float()

    def captions(self, index: int) -> tuple[str, ...]:
        """All captions of one clip."""
        part, row = divmod(index, PART)
        self._open(part)
        return self._captions[part][row]

    def things(self, indices: Sequence[int]) -> Tensor | None:
        """Which latent cells of the clips `indices` show a thing (B F h w); None if unknown."""
        masks = []
        for index in indices:
            grid = self.latents([index]).shape[-2:]
            mask = self.source.things(index, (grid[0], grid[1]))
            if mask is None:
                return None
            masks.append(mask)
        return torch.from_numpy(np.stack(masks))

    def _open(self, part: int) -> None:
        """Maps a part into memory, making it first if it is not there."""
        if part in self._latents:
            return
        latents = self.folder / f"latents_{part:05d}.npy"
        captions = self.folder / f"captions_{part:05d}.json"
        if not latents.exists():
            clips = self._clips(part)
            texts = json.dumps([texts for _, texts in clips])
            _write(captions, texts.encode("utf-8"))
            encoded = self._encode([frames for frames, _ in clips])
            draft = latents.with_suffix(".tmp.npy")
            np.save(draft, encoded)
            os.replace(draft, latents)
        self._captions[part] = [tuple(row) for row in json.loads(captions.read_text("utf-8"))]
        self._latents[part] = np.load(latents, mmap_mode="r")

    def _clips(self, part: int) -> list[Clip]:
        """The clips of a part; with several processes, the next part's are begun."""
        if self.processes == 1:
            return [self.source.clip(number) for number in self._numbers(part)]
        if self._pool is None:
            # "spawn": a fork of a process that runs torch's thread pool may hang.
            self._pool = ProcessPoolExecutor(self.processes, mp_context=get_context("spawn"))
        for number in (part, part + 1):
            if number not in self._ahead and self._numbers(number):
                self._ahead[number] = [
                    self._pool.submit(self.source.clip, each) for each in self._numbers(number)
                ]
        return [clip.result() for clip in self._ahead.pop(part)]

    def _numbers(self, part: int) -> range:
        return range(part * PART, min((part + 1) * PART, len(self)))

    def _encode(self, clips: list[Frames]) -> np.ndarray:
        together = max(1, FRAMES_AT_ONCE // len(clips[0]))
        rows = []
        for start in range(0, len(clips), together):
            video = torch.stack([to_floats(frames) for frames in clips[start : start + together]])
            with torch.inference_mode():
                latents = self.encoder.encode(video)
            rows.append(latents.cpu().numpy().astype(np.float16))
        return np.concatenate(rows)


@dataclass(frozen=True)
class ChosenClips:
    """Some clips of a cache, with some of their captions.

    Attributes:
        cache: All clips.
        numbers: Those that are taken, in the order in which they shall come.
        texts: Which of each clip's captions are taken.
    """

    cache: LatentCache
    numbers: tuple[int, ...]
    texts: slice

    def __len__(self) -> int:
        return len(self.numbers)

    def latents(self, indices: Sequence[int]) -> Latents:
        """Latents of the chosen clips `indices`, float32, B C F h w."""
        return self.cache.latents([self.numbers[index] for index in indices])

    def captions(self, index: int) -> tuple[str, ...]:
        """The chosen captions of one chosen clip."""
        return self.cache.captions(self.numbers[index])[self.texts]

    def things(self, indices: Sequence[int]) -> Tensor | None:
        """Which latent cells of the chosen clips `indices` show a thing (B F h w), if known."""
        return self.cache.things([self.numbers[index] for index in indices])


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_bytes(content)
    os.replace(draft, path)
