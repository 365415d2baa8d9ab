"""Cuts: how much of the work is done at once, so that it fits in memory."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from mutoscope.diffusion.tiles import Tiles


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How much a denoiser sees at once.

    Attributes:
        window: Frames; of an interpolation key frames, with what lies between them.
        tiles: Parts of the frame; None for the whole of it.
        apart: Whether it is asked with text and without one after the other, and not in one call.
            The answers are the same but for rounding.
        parts: In how many parts its attention and feed-forward work; see `VideoUNet.set_parts`.
    """

    window: int
    tiles: Tiles | None
    apart: bool = False
    parts: int = 1

    def __str__(self) -> str:
        parts = [] if self.tiles is None else [f"tiles of {self.tiles.height}x{self.tiles.width}"]
        parts += ["guidance in two calls"] * self.apart
        parts += [f"attention in {self.parts} parts"] * (self.parts > 1)
        return ", ".join([f"windows of {self.window}", *parts])


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How much an autoencoder decodes at once.

    Attributes:
        frames: Frames.
        tile: Side of the square parts of a frame, in latent cells; None for the whole of it. Parts
            overlap by a quarter and are blended.
    """

    frames: int
    tile: int | None = None

    def __str__(self) -> str:
        parts = [] if self.tile is None else [f"tiles of {self.tile}x{self.tile}"]
        return ", ".join([f"{self.frames} frames at once", *parts])


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """The cuts of a whole cascade.

    Attributes:
        stages: Of each stage's denoiser.
        small: Of the decoding of small frames.
        large: Of the decoding of enlarged frames.
    """

    stages: Mapping[str, Cut]
    small: Decoding
    large: Decoding

    def beginning_with(self, earlier: "Cuts", stages: Collection[str]) -> "Cuts":
        """These cuts, but for some stages those of `earlier`."""
        kept = {name: cut for name, cut in earlier.stages.items() if name in stages}
        return replace(self, stages={**self.stages, **kept})
