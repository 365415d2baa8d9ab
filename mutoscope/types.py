"""Axis letters, tensor roles, and the three small values that every layer passes on.

Axes: `B` batch, `C` channels, `F` frames, `H W` height and width (latent cells when the name says
latents), `L` text tokens, `D` text width, `M` single images appended to a clip. One layout inside
the package, `B C F H W`; an image is a video of one frame. Pixels are floats in [-1, 1]; latents
are scaled to about unit variance by the codec; times are float32 in scheduler units, 0 = data,
1000 = noise, for every noise process.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Generator, Tensor

from mutoscope.errors import RequestError

if TYPE_CHECKING:
    from torch import nn

Video = Float[Tensor, "B C F H W"]
Latents = Float[Tensor, "B c F h w"]
Times = Float[Tensor, "B"]
Spacing = int | float  # how far frames lie apart, in frames of what was learned from
TextStates = Float[Tensor, "B L D"]
TextMask = Bool[Tensor, "B L"]


@dataclass(frozen=True)
class Size:
    """Height and width of a video in pixels; written `HEIGHTxWIDTH`, as in `80x128`."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Reads `HEIGHTxWIDTH`.

        Raises:
            RequestError: `text` is anything else.
        """
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip())
        if match is None:
            raise RequestError(
                f"size {text!r} cannot be read: a size is HEIGHTxWIDTH in pixels. Use e.g. 80x128."
            )
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one training step sees; only what the objective needs is filled in.

    Attributes:
        captions: One caption per clip (B).
        video: Pixels of the clips in [-1, 1].
        latents: Their scaled latents, where these were encoded once and cached.
        image_captions: Captions of the single images that go with each clip (B tuples of M).
        image_latents: Latents of those images, `B C M H W`, on the frame axis.
        labels: Known truth, one tensor per name with B as its first axis (oracle training).
        features: What a frozen encoder made of each clip (contrast with text).
        frame_stride: How many frames of a clip lie from one given here to the next.
        first_frame: Number of the first frame given here in its clip.
    """

    captions: tuple[str, ...] = ()
    video: Video | None = None
    latents: Latents | None = None
    image_captions: tuple[tuple[str, ...], ...] = ()
    image_latents: Float[Tensor, "B c M h w"] | None = None
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    features: Float[Tensor, "B D"] | None = None
    frame_stride: int = 1
    first_frame: int = 0

    def to(self, device: str) -> "Batch":
        """The same batch with every tensor on `device`."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return replace(
            self,
            video=move(self.video),
            latents=move(self.latents),
            image_latents=move(self.image_latents),
            labels={name: tensor.to(device) for name, tensor in self.labels.items()},
            features=move(self.features),
        )

    def split(self, parts: int) -> list["Batch"]:
        """The batch in equal parts, row after row.

        Raises:
            RequestError: Its rows cannot be shared out evenly.
        """
        tensors = [self.video, self.latents, self.features, *self.labels.values()]
        rows = max([len(self.captions), *(len(each) for each in tensors if each is not None)])
        if rows % parts:
            raise RequestError(
                f"a batch of {rows} cannot be computed in {parts} equal parts. Use a batch size "
                f"that is a multiple of {parts}."
            )
        size = rows // parts
        return [self._rows(slice(start, start + size)) for start in range(0, rows, size)]

    def _rows(self, rows: slice) -> "Batch":
        def part(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows]

        return replace(
            self,
            captions=self.captions[rows],
            video=part(self.video),
            latents=part(self.latents),
            image_captions=self.image_captions[rows],
            image_latents=part(self.image_latents),
            labels={name: tensor[rows] for name, tensor in self.labels.items()},
            features=part(self.features),
        )


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, and named figures for the log (detached scalars, never minimised)."""

    value: Tensor
    report: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Objective(Protocol):
    """All that the trainer knows of what it trains."""

    def modules(self) -> Mapping[str, "nn.Module"]:
        """The modules whose parameters with `requires_grad` are trained, averaged and saved."""
        ...

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        """The loss of one batch; every random draw comes from `generator` (on the CPU)."""
        ...
