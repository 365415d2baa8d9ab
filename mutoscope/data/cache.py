"""Latents encoded once: a folder of parts that any number of training runs read at random."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from mutoscope.data.sources import ClipSource, Frames
from mutoscope.encoding.codec import LatentCodec
from mutoscope.types import Latents
from mutoscope.video.frames import to_floats

PART = 256
FRAMES_AT_ONCE = 64


class LatentCache:
    """Latents (float16, N C F h w) and captions of N clips, memory-mapped from `folder`."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self._opened: dict[int, np.ndarray] = {}
        self._read: dict[int, list[tuple[str, ...]]] = {}

    def latents(self, indices: Sequence[int]) -> Latents:
        """Latents of the clips `indices`, float32, B C F h w."""
        rows = [self._part(index // PART)[index % PART] for index in indices]
        return torch.from_numpy(np.stack(rows)).float()

    def captions(self, index: int) -> tuple[str, ...]:
        """All captions of one clip."""
        return self._texts(index // PART)[index % PART]

    def _part(self, number: int) -> np.ndarray:
        if number not in self._opened:
            self._opened[number] = np.load(_latent_file(self.folder, number), mmap_mode="r")
        return self._opened[number]

    def _texts(self, number: int) -> list[tuple[str, ...]]:
        if number not in self._read:
            lines = json.loads(_caption_file(self.folder, number).read_text(encoding="utf-8"))
            self._read[number] = [tuple(line) for line in lines]
        return self._read[number]


def build_cache(
    folder: Path,
    source: ClipSource,
    codec: LatentCodec,
    *,
    processes: int,
    report: Callable[[int, int], None],
) -> LatentCache:
    """Renders or reads every clip of `source`, encodes it, and writes it to `folder` in parts.

    A cache that was cut short goes on from its last whole part.

    Args:
        folder: Parent of caches; this one's folder is named by the source's and codec's hashes.
        source: The clips.
        codec: The autoencoder.
        processes: Processes that render or read; encoding happens in this one.
        report: Called with (clips done, clips in all) after each part.
    """
    folder = folder / f"{source.key()}-{codec.hash()}"
    folder.mkdir(parents=True, exist_ok=True)
    total = len(source)
    missing = [n for n in range(-(-total // PART)) if not _latent_file(folder, n).exists()]
    wanted = [range(n * PART, min((n + 1) * PART, total)) for n in missing]
    for number, clips in zip(missing, _clips(source, wanted, processes), strict=True):
        latents = _encode(codec, [frames for frames, _ in clips])
        captions = json.dumps([texts for _, texts in clips])
        _write(_caption_file(folder, number), captions.encode("utf-8"))
        temporary = _latent_file(folder, number).with_suffix(".tmp.npy")
        np.save(temporary, latents)
        os.replace(temporary, _latent_file(folder, number))
        report(min((number + 1) * PART, total), total)
    return LatentCache(folder, total)


def _clips(
    source: ClipSource, wanted: list[range], processes: int
) -> Iterator[list[tuple[Frames, tuple[str, ...]]]]:
    if processes <= 1 or not wanted:
        for numbers in wanted:
            yield [source.clip(number) for number in numbers]
        return
    # "spawn": a fork of a process that runs torch's thread pool may hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        # One part is made ahead while this process encodes the one before.
        ahead = [pool.map(source.clip, numbers, chunksize=8) for numbers in wanted[:2]]
        for position in range(len(wanted)):
            yield list(ahead.pop(0))
            if position + 2 < len(wanted):
                ahead.append(pool.map(source.clip, wanted[position + 2], chunksize=8))


def _encode(codec: LatentCodec, clips: list[Frames]) -> np.ndarray:
    together = max(1, FRAMES_AT_ONCE // len(clips[0]))
    rows = []
    for start in range(0, len(clips), together):
        video = torch.stack([to_floats(frames) for frames in clips[start : start + together]])
        with torch.inference_mode():
            rows.append(codec.encode(video.to(codec.vae.device)).cpu().numpy().astype(np.float16))
    return np.concatenate(rows)


def _latent_file(folder: Path, number: int) -> Path:
    return folder / f"latents_{number:05d}.npy"


def _caption_file(folder: Path, number: int) -> Path:
    return folder / f"captions_{number:05d}.json"


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
