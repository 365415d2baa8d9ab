"""What went visibly wrong in a video, found without knowing what it should show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from mutoscope.errors import MutoscopeError
from mutoscope.types import Latents
from mutoscope.video.frames import Frame

BLACK, FLAT, FROZEN = 4.0, 2.0, 0.02
"""Mean level, spread of levels within frames, and mean change from frame to frame, of 255."""
REPEATS = 0.25
"""Share of frames that may be the one before, bit for bit; frames that were drawn never are."""
DRIFT, JUMP = 12.0, 4.0
"""Change of mean colour, of 255, and how many times larger a step is than is usual."""
SEAM, BESIDE, NEAR, LINES, NAMED = 3.0, 8, 4, 4, 4
"""Levels, of 255, that the step across a seam within frames is above those beside it; lines on
either side that count as beside; how far away what a video is made from may show the same; every
which pixel along a line is looked at; and how many seams are named."""


def check_finite(latents: Latents, stage: str) -> None:
    """Refuses latents that are no numbers, which decode to black.

    Raises:
        MutoscopeError: As said; names the stage.
    """
    broken = int((~latents.isfinite()).flatten(1).any(dim=1).sum())
    if broken:
        raise MutoscopeError(
            f"stage {stage!r} broke down: {broken} of {len(latents)} videos hold values that are "
            "no numbers. Use --dtype fp32 or bf16 instead of fp16; if it is that already, the "
            "weights are damaged."
        )


@dataclass(frozen=True)
class Look:
    """What frames look like, in as few numbers as what is made from them can be held against.

    Attributes:
        colour: The mean of all frames, of 255.
        rows: The usual step from each row of pixels to the next, of 255: the median over places of
            the row, mean over frames.
        columns: The same from column to column.
    """

    colour: tuple[float, ...]
    rows: tuple[float, ...]
    columns: tuple[float, ...]

    @classmethod
    def from_record(cls, told: Mapping[str, Any]) -> "Look":
        """What `dataclasses.asdict` made of one, perhaps by way of JSON."""
        return cls(*(tuple(map(float, told[name])) for name in ("colour", "rows", "columns")))


class Health:
    """What a person would notice at once about frames that are never there all at once."""

    def __init__(self) -> None:
        self._spread: list[float] = []
        self._colours: list[np.ndarray] = []
        self._steps: list[float] = []
        self._across: list[list[np.ndarray]] = [[], []]
        self._before: Frame | None = None

    def add(self, frame: Frame) -> None:
        """Goes on with the next frame, H W 3."""
        levels = frame.astype(np.float32)
        self._colours.append(levels.mean(axis=(0, 1)))
        self._spread.append(float(levels.std(axis=(0, 1)).mean()))
        if self._before is not None:
            self._steps.append(float(np.abs(levels - self._before).mean()))
        self._before = frame
        grey = levels.mean(axis=2)
        for known, lines in zip(self._across, (grey.T[::LINES], grey[::LINES]), strict=True):
            known.append(np.median(np.abs(np.diff(lines)), axis=0))

    @property
    def look(self) -> Look:
        """All frames so far, in a few numbers, to a hundredth of a level."""
        means = (np.mean(each, axis=0, dtype=np.float64) for each in (self._colours, *self._across))
        colour, rows, columns = (tuple(np.round(mean, 2).tolist()) for mean in means)
        return Look(colour, rows, columns)

    def complaints(self, made_from: Look | None = None) -> list[str]:
        """What is to be said, in words; nothing if all seems well.

        Args:
            made_from: The frames that the video was made from, smaller or as large. Without them
                nobody knows whether colours drifted, and which lines belong into the picture.
        """
        found = []
        black = int((np.mean(self._colours, axis=1) < BLACK).sum())
        if black == len(self._colours):
            found.append("all frames are black")
        elif np.mean(self._spread) < FLAT:
            found.append("all frames are one flat colour")
        elif black:
            found.append(f"{black} of {len(self._colours)} frames are black")
        steps = np.array(self._steps)
        repeated = int((steps == 0).sum())
        if len(steps) and steps.max() < FROZEN:
            found.append("nothing moves from the first frame to the last")
        elif repeated > REPEATS * len(steps):
            found.append(
                f"{repeated} of {len(self._colours)} frames are the same as the one before"
            )
        # A step is a seam if it is far larger than most, and large enough to see.
        moved = steps[steps > 0]
        usual = max(float(np.median(moved)), 1.0) if len(moved) > 2 else np.inf
        found += [
            f"the picture jumps between frames {number} and {number + 1}"
            for number in np.flatnonzero(steps > JUMP * usual)
        ]
        if made_from is not None:
            look = self.look
            apart = np.abs(np.subtract(look.colour, made_from.colour)).max()
            if apart > DRIFT:
                found.append(f"colours lie {apart:.0f} of 255 levels from those it was made from")
            for name, here, there in (
                ("row", look.rows, made_from.rows),
                ("column", look.columns, made_from.columns),
            ):
                if seams := _seams(np.array(here), np.array(there)):
                    where = ", ".join(map(str, seams[:NAMED])) + ("..." * (len(seams) > NAMED))
                    found.append(f"a seam goes through the picture after {name} {where}")
        return found


def _seams(here: Float[np.ndarray, " lines"], there: Float[np.ndarray, " small"]) -> list[int]:
    """Lines across which frames step as they do not beside, nor what they were made from there."""
    times = round((len(here) + 1) / (len(there) + 1))
    found = []
    for line in np.flatnonzero(_excess(here) > SEAM):
        small = (line + 1) // times - 1
        # An edge of what is shown is in both, and as high, be it sharper here, or a few pixels
        # away, as an autoencoder of eight pixels a cell draws it.
        if there[max(small - NEAR, 0) : small + NEAR + 1].max() < here[line] / 2:
            found.append(int(line))
    return found


def _excess(steps: Float[np.ndarray, " lines"]) -> Float[np.ndarray, " lines"]:
    """How far each step is above those beside it, of which half are as large or larger."""
    padded = np.pad(steps, BESIDE, mode="edge")
    beside = np.lib.stride_tricks.sliding_window_view(padded, 2 * BESIDE + 1)
    excess: np.ndarray = steps - np.median(beside, axis=1)
    return excess
