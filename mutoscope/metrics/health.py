"""What went visibly wrong in a video, found without knowing what it should show."""

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


class Health:
    """What a person would notice at once about frames that are never there all at once."""

    def __init__(self) -> None:
        self._spread: list[float] = []
        self._colours: list[np.ndarray] = []
        self._steps: list[float] = []
        self._before: Frame | None = None

    def add(self, frame: Frame) -> None:
        """Goes on with the next frame, H W 3."""
        levels = frame.astype(np.float32)
        self._colours.append(levels.mean(axis=(0, 1)))
        self._spread.append(float(levels.std(axis=(0, 1)).mean()))
        if self._before is not None:
            self._steps.append(float(np.abs(levels - self._before).mean()))
        self._before = frame

    @property
    def colour(self) -> Float[np.ndarray, "3"]:
        """The mean colour of all frames so far, of 255."""
        mean: np.ndarray = np.mean(self._colours, axis=0)
        return mean

    def complaints(self, colour: Float[np.ndarray, "3"] | None = None) -> list[str]:
        """What is to be said, in words; nothing if all seems well.

        Args:
            colour: The mean colour of the frames that the video was made from, of 255.
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
        if colour is not None:
            apart = np.abs(self.colour - colour).max()
            if apart > DRIFT:
                found.append(f"colours lie {apart:.0f} of 255 levels from those it was made from")
        return found
