"""Range and layout of frames: uint8 F H W C in files, float B C F H W in the package."""

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from mutoscope.errors import MutoscopeError
from mutoscope.types import Size, Video

Frames = UInt8[ndarray, "F H W 3"]
Frame = UInt8[ndarray, "H W 3"]


@runtime_checkable
class Footage(Protocol):
    """Frames one after the other, which need never be there all at once; `Frames` will do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """F, H, W and 3."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...


def in_parts(footage: Footage, most: int) -> Iterator[Frames]:
    """All frames, `most` at a time."""
    frames = iter(footage)
    while part := list(islice(frames, most)):
        yield np.stack(part)


def to_floats(frames: Frames) -> Float[torch.Tensor, "3 F H W"]:
    """Maps 0..255 linearly onto [-1, 1] and puts the channels first.

    Args:
        frames: One clip, F H W 3.

    Returns:
        The clip as float32; `to_bytes` gives back exactly the same frames.
    """
    floats = torch.from_numpy(np.ascontiguousarray(frames)).to(torch.float32) / 127.5 - 1.0
    return rearrange(floats, "f h w c -> c f h w")


def to_bytes(video: Video) -> UInt8[ndarray, "B F H W 3"]:
    """Maps [-1, 1] onto 0..255, the nearest integer, values outside cut off.

    Args:
        video: Pixels, B 3 F H W.

    Raises:
        MutoscopeError: They are no numbers, of which black pixels would be made.
    """
    if not video.isfinite().all():
        raise MutoscopeError(
            f"frames of {video.shape[-2]}x{video.shape[-1]} hold values that are no numbers, which "
            "would be shown black. Use --dtype fp32 or bf16 instead of fp16; if it is that "
            "already, the weights are damaged."
        )
    scaled = (video.detach().to("cpu", torch.float32).clamp(-1.0, 1.0) + 1.0) * 127.5
    return rearrange(scaled.round().to(torch.uint8), "b c f h w -> b f h w c").numpy()


def fingerprint(frames: Frames) -> str:
    """SHA-256 of the raw frames and their shape, as hexadecimal digits.

    Args:
        frames: One clip, F H W 3; one bit changed or one frame moved gives another hash.
    """
    found = Fingerprint(len(frames))
    for frame in frames:
        found.add(frame)
    return found.hexadecimal()


class Fingerprint:
    """The fingerprint of frames that are never there all at once.

    Args:
        num_frames: How many there will be; it is hashed before them.
    """

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames
        self._digest = hashlib.sha256()
        self._seen = 0

    def add(self, frame: Frame) -> None:
        """Goes on with the next frame, H W 3."""
        if not self._seen:
            self._digest.update(repr((self._num_frames, *frame.shape)).encode())
        self._digest.update(np.ascontiguousarray(frame).data)
        self._seen += 1

    def hexadecimal(self) -> str:
        """The hash of all frames, which must have been added."""
        assert self._seen == self._num_frames
        return self._digest.hexdigest()


def resize(frames: Frames, size: Size) -> UInt8[ndarray, "F h w 3"]:
    """Each frame at `size`, Lanczos-filtered; the aspect ratio is the caller's business.

    Args:
        frames: One clip, F H W 3.
        size: Height and width wanted, in pixels.
    """
    wanted = (size.width, size.height)
    pictures = (Image.fromarray(frame) for frame in frames)
    return np.stack([np.asarray(p.resize(wanted, Image.Resampling.LANCZOS)) for p in pictures])


def fit(frames: Frames, size: Size) -> UInt8[ndarray, "F h w 3"]:
    """The middle of each frame at the aspect ratio of `size`, scaled to it.

    Args:
        frames: One clip, F H W 3.
        size: Height and width wanted, in pixels.
    """
    height, width = frames.shape[1:3]
    scale = min(height / size.height, width / size.width)
    tall, wide = round(size.height * scale), round(size.width * scale)
    top, left = (height - tall) // 2, (width - wide) // 2
    return resize(frames[:, top : top + tall, left : left + wide], size)
