"""What went visibly wrong in a video, found without knowing what it should show."""

import numpy as np
from jaxtyping import UInt8

from mutoscope.errors import MutoscopeError
from mutoscope.types import Latents
from mutoscope.video.frames import Frames

BLACK, FLAT, FROZEN = 4.0, 2.0, 0.02
"""Mean level, spread of levels within frames, and mean change from frame to frame, of 255."""
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


def complaints(frames: Frames, keys: UInt8[np.ndarray, "K h w 3"] | None = None) -> list[str]:
    """What a person would notice at once, in words; nothing if all seems well.

    Args:
        frames: The video.
        keys: The key frames it was made from, of any frame size.
    """
    levels = frames.astype(np.float32)
    found = []
    if levels.mean() < BLACK:
        found.append("all frames are black")
    elif levels.std(axis=(1, 2)).mean() < FLAT:
        found.append("all frames are one flat colour")
    steps = np.abs(np.diff(levels, axis=0)).mean(axis=(1, 2, 3))
    if len(steps) and steps.max() < FROZEN:
        found.append("nothing moves from the first frame to the last")
    # A step is a seam if it is far larger than most, and large enough to see.
    usual = max(float(np.median(steps)), 1.0) if len(steps) > 2 else np.inf
    found += [
        f"the picture jumps between frames {number} and {number + 1}"
        for number in np.flatnonzero(steps > JUMP * usual)
    ]
    if keys is not None:
        apart = np.abs(levels.mean(axis=(0, 1, 2)) - keys.mean(axis=(0, 1, 2))).max()
        if apart > DRIFT:
            found.append(f"colours lie {apart:.0f} of 255 levels from those of the key frames")
    return found
