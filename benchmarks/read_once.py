"""What reading the text once in a sampling saves, where it was read in every step before.

Command: `OMP_NUM_THREADS=1 python -m benchmarks.read_once [STEPS]`. The same latents are drawn both
ways in turn, in one process, and CPU times are compared: of a clip and of a still, for which text
is a larger part of the work.
"""

import sys
import time
from statistics import median
from unittest.mock import patch

import torch

from mutoscope.stages.text_stage import TextStage
from mutoscope.systems import System, load

PROMPT = "a red star drifts left over the sea at night"
REPEATS = 5


def seconds(system: System, num_frames: int, steps: int) -> tuple[float, torch.Tensor]:
    """CPU seconds of one sampling, and its latents."""
    start = time.process_time()
    made = system(
        PROMPT, num_frames=num_frames, steps=steps, stages=("base",), output_type="latent"
    )
    return time.process_time() - start, made.frames


def main(steps: int) -> None:
    """Prints a line for each kind of video."""
    system = load()
    every_step = patch.object(TextStage, "read_once", lambda stage, condition: condition)
    for frames in (system.config.num_frames, 1):
        seconds(system, frames, steps)
        spent: dict[str, list[float]] = {"once": [], "in every step": []}
        for _ in range(REPEATS):
            once, drawn = seconds(system, frames, steps)
            with every_step:
                often, again = seconds(system, frames, steps)
            assert torch.equal(drawn, again)
            spent["once"].append(once)
            spent["in every step"].append(often)
        ratios = [a / b for a, b in zip(*spent.values(), strict=True)]
        print(
            f"{frames} frame(s), {steps} steps: "
            + ", ".join(f"{name} {median(times):.2f} s" for name, times in spent.items())
            + f"; ratio {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
