"""At which noise a model decides what a clip shows.

Command: `python -m benchmarks.decided [CLIPS [MODEL]]`. True test clips of one thing are given so
much noise, the model takes it away again under their captions, and the oracle reads the result.
Where little noise is given, the clip still shows what the caption says, and nothing can go wrong;
what goes wrong from full noise alone, went wrong in between.
"""

import sys

import torch
from rich.console import Console

from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import VariancePreserving, process_from
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.metrics.accuracy import SCORED, score
from mutoscope.metrics.oracle import needed_oracle
from mutoscope.recipes.worth import Worth, single_scenes
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems import load
from mutoscope.types import Latents
from mutoscope.world.grammar import caption

STEPS = 50
TIMES = (999, 979, 959, 939, 899, 859, 799, 659, 499)  # of the steps of DDIM
FIRST_SCENE = 400_000  # no other figure uses the scenes from there on
AT_ONCE = 8


def from_time(
    stage: KeyFrames, noisy: Latents, time: int, told: Condition, guidance: TextGuidance
) -> Latents:
    """Takes the noise of `time` away in the steps of DDIM that are left from there."""
    law = stage.process
    assert isinstance(law, VariancePreserving)
    solver = law.scheduler("ddim")
    solver.set_timesteps(STEPS)
    branches = guidance.branches(told)
    everything = branches[0] if len(branches) == 1 else branches[0].stack(branches)
    latents = noisy
    for now in solver.timesteps[solver.timesteps <= time]:
        seen = latents.repeat(len(branches), 1, 1, 1, 1)
        times = now.float().expand(len(seen))
        prediction = guidance.combine(
            stage.predict(seen, times, everything).chunk(len(branches)), told, float(now)
        )
        latents = solver.step(prediction, now, latents, return_dict=False)[0]
    return latents


def main(count: int, model: str) -> None:
    system, oracle, console = load(model), needed_oracle(), Console()
    codec, fps = LatentCodec(system.vae), float(system.config.fps)
    shown = Worth(codec, int(system.config.num_frames), fps, count)
    text = TextEncoder(system.text_encoder, system.tokenizer)
    stage = KeyFrames(system.base, process_from(system.scheduler), text)
    asked = single_scenes(count, "video", first=FIRST_SCENE)
    guidance = system.guidance()
    for time in TIMES:
        found = []
        for first in range(0, count, AT_ONCE):
            part = asked[first : first + AT_ONCE]
            with torch.inference_mode():
                noisy, _, _ = shown.in_noise(stage.process, part, time=float(time), seed=first)
                told = stage.describe([caption(s, level="full", seed=s.seed) for s in part])
                video = codec.decode(from_time(stage, noisy, time, told, guidance))
            readings = oracle.read(video.clamp(-1, 1), fps=fps)
            found += [score(s, reading) for s, reading in zip(part, readings, strict=True)]
        shares = (
            f"{name} {100 * sum(each[name] for each in found) / count:.1f} %"
            for name in (*SCORED, "all")
        )
        console.print(f"noise of time {time}: {', '.join(shares)}", highlight=False)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 48, given[1] if len(given) > 1 else "lavie-mini")
