"""Condition: everything a denoiser is told about the samples it makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from mutoscope.errors import RequestError
from mutoscope.types import Latents

PARTS = ("text", "frames")
"""What `without` and `drop` can leave out, besides companions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """A batch of things to make: one row per sample, all tensors on one device.

    Attributes:
        text: States of the prompts, B L D. Where M single images are appended to each clip
            (joint training), B (1+M) L D: the clip's caption, then one per image.
        text_mask: True where a state belongs to a token, False where it is padding.
        null_text: States that stand for no text: of the negative prompts, of "" in training.
        null_mask: Their mask; they may be padded to another length than `text`.
        frames: Scaled latents on the grid of the sample, where some of its frames are known.
        frame_mask: True where a frame is known; only these are ever read from `frames`.
        frames_until: The least noisy time at which they are known, in [0, 1000); 0 is always.
        frame_stride: How many frames lie from one frame of the sample to the next.
        first_frame: Number of the sample's first frame in its clip.
        noise_level: How noisy the small video beside is, for networks that enlarge; 0 is clean.
        beside: Companions by name, scaled latents that a stage lays beside the noisy ones on the
            channel axis: the key frames between which it fills in, a small video to enlarge. Each
            has a row per sample, and else the grid that its stage asks for.
        text_read: Layer -> what it made of `text`, where a stage had its network read that once for
            many steps; None where it is read anew. A condition of other texts has None again.
        early_text: States that are told in place of `text` in much noise; None for none.
        early_mask: Their mask.
        early_until: The least noisy time of these, in [0, 1000).
        early_read: As `text_read`, of `early_text`.

    Raises:
        RequestError: Only one of `frames` and `frame_mask` is given, or a companion has the name
            of another part.
    """

    text: Float[Tensor, "B *M L D"]
    text_mask: Bool[Tensor, "B *M L"]
    null_text: Float[Tensor, "B *M N D"]
    null_mask: Bool[Tensor, "B *M N"]
    frames: Latents | None = None
    frame_mask: Bool[Tensor, "B F"] | None = None
    frames_until: float = 0.0
    noise_level: Int[Tensor, "B"] | None = None
    frame_stride: int = 1
    first_frame: int = 0
    beside: Mapping[str, Float[Tensor, "B _ _ _ _"]] = field(default_factory=dict)
    text_read: Mapping[nn.Module, tuple[Tensor, Tensor]] | None = None
    early_text: Float[Tensor, "B E D"] | None = None
    early_mask: Bool[Tensor, "B E"] | None = None
    early_until: float = 1000.0
    early_read: Mapping[nn.Module, tuple[Tensor, Tensor]] | None = None

    def __post_init__(self) -> None:
        if (self.frames is None) != (self.frame_mask is None):
            raise RequestError(
                "a condition has frames or frame_mask but not the other: the mask says which "
                "frames are known. Pass both or neither."
            )
        taken = [name for name in self.beside if name in PARTS]
        if taken:
            raise RequestError(
                f"a companion cannot be named {taken[0]!r}: that is another part of a condition, "
                "and parts are left out by name. Give it a name of its own."
            )

    @property
    def batch_size(self) -> int:
        """Number of samples B."""
        return len(self.text)

    def to(self, device: torch.device | str) -> "Condition":
        """The same condition with every tensor on `device`."""
        moved: dict[str, Any] = {name: each.to(device) for name, each in self._tensors().items()}
        moved["beside"] = {name: each.to(device) for name, each in self.beside.items()}
        return replace(self, **moved, text_read=None, early_read=None)

    def at(self, time: Float[Tensor, "B"]) -> "Condition":
        """The condition with what is told at a time as its text, and frames if they are known then.

        Args:
            time: In [0, 1000), the same for all samples if there is an early text, or frames are
                known for a while only.
        """
        told = self
        text, mask = self.early_text, self.early_mask
        if text is not None and mask is not None and time[0] >= self.early_until:
            told = replace(told, text=text, text_mask=mask, text_read=self.early_read)
        if self.frame_mask is not None and self.frames_until > 0 and time[0] < self.frames_until:
            told = replace(told, frame_mask=torch.zeros_like(self.frame_mask))
        return told

    def crop(self, rows: slice, columns: slice) -> "Condition":
        """The condition for those latent cells alone: frames and companions are cut.

        Companions lie on the grid of the sample (cells), whatever their number of frames.
        """
        return replace(
            self,
            frames=None if self.frames is None else self.frames[..., rows, columns],
            beside={name: each[..., rows, columns] for name, each in self.beside.items()},
        )

    def without(self, *names: str) -> "Condition":
        """The condition as if the named parts had not been given, for every sample.

        Args:
            names: "text" leaves the null text in its place; "frames" makes every frame unknown;
                a companion's name leaves zeros in its place.

        Raises:
            RequestError: A name is none of these.
        """
        return self._dropped({name: torch.tensor(True) for name in names})

    def drop(self, probabilities: Mapping[str, float], generator: Generator) -> "Condition":
        """The condition with parts left out at random, for training.

        Each caption, each sample's frames and each of its companions are drawn for on their own.

        Args:
            probabilities: Name of a part ("text", "frames", a companion's) -> how often it is left
                out, in [0, 1]; parts that are not named stay.
            generator: Source of the draws, as many whatever the probabilities.

        Raises:
            RequestError: A name is not a part, or a probability lies outside [0, 1].
        """
        for name, probability in probabilities.items():
            if not 0 <= probability <= 1:
                raise RequestError(
                    f"{name} cannot be dropped with probability {probability}: it lies between 0 "
                    "and 1. Use e.g. 0.1."
                )
        where = {}
        for name, probability in probabilities.items():
            shape = self.text.shape[:-2] if name == "text" else (self.batch_size,)
            draws = torch.rand(shape, generator=generator, device=generator.device)
            where[name] = draws < probability
        return self._dropped(where)

    @classmethod
    def stack(cls, parts: Sequence["Condition"]) -> "Condition":
        """One condition for all samples of `parts`, in order; texts padded to the longest.

        Raises:
            RequestError: There are none, or they differ in whether they have known frames or a
                noise level, or in the names of their companions.
        """
        if not parts:
            raise RequestError(
                "no conditions cannot be stacked: a batch has one sample or more. Pass some."
            )
        if len({part.frames is None for part in parts}) > 1:
            raise RequestError(
                "conditions with and without known frames cannot be stacked: all have frames or "
                "none has. Give the others frames too, with a frame_mask that is False."
            )
        if len({part.noise_level is None for part in parts}) > 1:
            raise RequestError(
                "conditions with and without a noise level cannot be stacked: all have one or none "
                "has. Give 0 to those whose companion is clean."
            )
        if len({part.frames_until for part in parts}) > 1:
            raise RequestError(
                "conditions whose frames are known until different times cannot be stacked. Give "
                "all the same frames_until."
            )
        spacings = {(part.first_frame, part.frame_stride) for part in parts}
        if len(spacings) > 1:
            raise RequestError(
                f"conditions with first frames and strides {sorted(spacings)} cannot be stacked: "
                "all samples show the same frames of their clips. Stack those that do."
            )
        first, stride = spacings.pop()
        names = [sorted(part.beside) for part in parts]
        if any(each != names[0] for each in names):
            raise RequestError(
                f"conditions with companions {names} cannot be stacked: all have the same. Give "
                "zeros to those that lack one."
            )
        text, text_mask = _joined([(part.text, part.text_mask) for part in parts])
        null_text, null_mask = _joined([(part.null_text, part.null_mask) for part in parts])
        early: dict[str, Any] = {}
        if any(part.early_text is not None for part in parts):
            texts = [part.at(torch.full((1,), 1000.0)) for part in parts]
            early_text, early_mask = _joined([(each.text, each.text_mask) for each in texts])
            until = min(part.early_until for part in parts)
            early = {"early_text": early_text, "early_mask": early_mask, "early_until": until}
        frames = [part.frames for part in parts if part.frames is not None]
        masks = [part.frame_mask for part in parts if part.frame_mask is not None]
        levels = [part.noise_level for part in parts if part.noise_level is not None]
        return cls(
            text=text,
            text_mask=text_mask,
            null_text=null_text,
            null_mask=null_mask,
            frames=torch.cat(frames) if frames else None,
            frame_mask=torch.cat(masks) if masks else None,
            frames_until=parts[0].frames_until,
            noise_level=torch.cat(levels) if levels else None,
            frame_stride=stride,
            first_frame=first,
            beside={name: torch.cat([part.beside[name] for part in parts]) for name in names[0]},
            **early,
        )

    def _dropped(self, where: Mapping[str, Tensor]) -> "Condition":
        """The condition without each named part where its flag is True (a scalar: everywhere)."""
        possible = (*PARTS, *self.beside)
        unknown = [name for name in where if name not in possible]
        if unknown:
            raise RequestError(
                f"{', '.join(unknown)} cannot be left out of a condition: its parts are "
                f"{', '.join(possible)}. Name one of these."
            )
        dropped = self
        if "text" in where:
            (text, text_mask), (null_text, null_mask) = _even(
                [(self.text, self.text_mask), (self.null_text, self.null_mask)]
            )
            gone = where["text"].to(text.device)[..., None]
            if bool(gone.all()):
                dropped = replace(dropped, early_text=None, early_mask=None, early_read=None)
            dropped = replace(
                dropped,
                text=torch.where(gone[..., None], null_text, text),
                text_mask=torch.where(gone, null_mask, text_mask),
                text_read=None,
            )
        if "frames" in where and self.frame_mask is not None:
            # The tensor stays, so that all branches of guidance stack; nothing reads it unmasked.
            kept = ~where["frames"].to(self.frame_mask.device)[..., None]
            dropped = replace(dropped, frame_mask=self.frame_mask & kept)
        if not where.keys().isdisjoint(self.beside):
            dropped = replace(
                dropped,
                beside={
                    name: _zeroed(each, where[name]) if name in where else each
                    for name, each in self.beside.items()
                },
            )
        return dropped

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by name; companions not among them."""
        return {name: each for name, each in vars(self).items() if isinstance(each, Tensor)}


def _zeroed(companion: Tensor, gone: Tensor) -> Tensor:
    """A companion (B c F h w) with zeros in the rows that are gone (B, or a scalar for all)."""
    rows = gone.to(companion.device)[..., None, None, None, None]
    return companion.masked_fill(rows, 0.0)


def _even(texts: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """States and masks padded to the longest of `texts`, with zeros and False."""
    longest = max(states.shape[-2] for states, _ in texts)
    return [
        (
            pad(states, (0, 0, 0, longest - states.shape[-2])),
            pad(mask, (0, longest - mask.shape[-1]), value=False),
        )
        for states, mask in texts
    ]


def _joined(texts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One batch of states and one of masks, padded to the longest."""
    even = _even(texts)
    return torch.cat([states for states, _ in even]), torch.cat([mask for _, mask in even])
