"""Seconds a step, operations a second and memory of every stage, beside what `plan` predicts.

Command: `python -m benchmarks.stages [--model NAME] [--random-weights] [--device cuda]
[--dtype bf16] [--stages base,interpolate,upscale] [--size 1280x2048] [--num-frames 61] [--steps N]
[--memory 16GB]`. One video is drawn; what is left out is as the model was trained. With
`--model lavie --random-weights` that is the whole cascade at full size, of which nothing need be
there: random weights take as long as trained ones. `--steps` of 2 or more are those of every stage.

"share" is the rate of a stage over that of a product of large matrices in the same precision, in
the same run. "peak" is the most memory in use above the loaded model: on a CPU resident memory, on
a GPU what PyTorch has allocated.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from mutoscope.cli.making import give_back_memory, precisions
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import train_tokenizer
from mutoscope.errors import MutoscopeError, RequestError
from mutoscope.systems import load
from mutoscope.systems.cascade import BASE, INTERPOLATE, UPSCALE
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import outline
from mutoscope.systems.plan import Plan, matrix_rate, plan, read_memory, seconds, task_of
from mutoscope.types import Latents, Size

_CELLS = 8  # height and width of the smallest latents that all networks can halve
PROMPT = "a red star drifts left over the sea at night"
# What each stage works with, besides the small autoencoder and text encoder.
NEEDED = {
    BASE: ("base",),
    INTERPOLATE: ("interpolator",),
    UPSCALE: ("upscaler", "upscaler_vae", "upscaler_text_encoder"),
}


@dataclass
class Clock:
    """Notes when each step of each stage ends, and the most memory in use in it.

    A stage's peak is that of a usual step. What comes between stages or windows, decoding above
    all, falls into some step too, so the highest of all is that of the whole work.

    Attributes:
        device: Where the networks are.
        steps: Seconds between the ends of neighbouring steps of one stage, stage after stage.
        totals: How many steps each of these stages has.
        peaks: Most bytes in use in each step, above what was there when the clock was made; after
            the last stage's the peak of what came then.
        finite: Whether no latent was infinite or not a number.
    """

    device: str
    steps: list[list[float]] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    peaks: list[list[int]] = field(default_factory=list)
    finite: bool = True

    def __post_init__(self) -> None:
        self._loaded = in_use(self.device)
        self._last = 0.0
        forget_peak(self.device)

    def __call__(self, done: int, total: int, latents: Latents) -> None:
        """After a step."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if done == 1:
            self.steps.append([])
            self.peaks.append([])
            self.totals.append(total)
        else:
            self.steps[-1].append(now - self._last)
        self._note_peak()
        self.finite = self.finite and bool(latents.isfinite().all())
        self._last = time.perf_counter()

    def end(self) -> None:
        """All is done."""
        self.peaks.append([])
        self._note_peak()

    def _note_peak(self) -> None:
        self.peaks[-1].append(most_in_use(self.device) - self._loaded)
        forget_peak(self.device)


def in_use(device: str) -> int:
    """Bytes in use now."""
    return torch.cuda.memory_allocated() if device == "cuda" else _resident("VmRSS")


def most_in_use(device: str) -> int:
    """The most bytes in use since `forget_peak`."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else _resident("VmHWM")


def forget_peak(device: str) -> None:
    """Has the peak counted anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def with_random_weights(
    system: LaVie, stages: Sequence[str], device: str, dtype: torch.dtype
) -> LaVie:
    """Gives an outline weights for some stages, drawn from a seed, and words to its tokenizers.

    Args:
        system: Its modules are on the meta device; changed in place.
        stages: Of which the networks are needed.
        device: As torch names it.
        dtype: Precision of the weights.
    """
    generator = torch.Generator(device).manual_seed(0)
    needed = {"vae", "text_encoder", *(name for stage in stages for name in NEEDED[stage])}
    for name, module in system.components.items():
        if not isinstance(module, nn.Module):
            continue
        if name not in needed:
            system.register_modules(**{name: None})
            continue
        module.to(dtype).to_empty(device=device)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.normal_(std=0.02, generator=generator)
            for buffer in module.buffers():  # the numbers of the places of a text
                buffer.copy_(torch.arange(buffer.numel(), device=device).view_as(buffer))
        module.eval()
    words = train_tokenizer([PROMPT], vocabulary_size=300)
    words.model_max_length = 77
    system.register_modules(tokenizer=words, upscaler_tokenizer=words)
    return system


def timed(asked: argparse.Namespace) -> tuple[Plan, Clock]:
    """Plans a video, draws it, and gives the plan and the times.

    Args:
        asked: The command line's options.

    Raises:
        RequestError: The model cannot make it, or not in so much memory.
    """
    memory = read_memory(asked.memory) if asked.memory else None
    paper = _outlined(asked)
    stages = paper.check_stages(None if asked.stages is None else asked.stages.split(","))
    native, times = paper.native_size, paper.enlargement(stages)
    largest = Size(times * native.height, times * native.width)
    size = largest if asked.size is None else Size.parse(asked.size)
    frames = asked.num_frames or paper.native_num_frames(stages)
    config = paper.config
    task = task_of(paper, stages, frames, size, config.steps, config.guidance_scale)
    dtypes = precisions(asked.dtype, asked.device, bounded=memory is not None)
    made = plan(paper, task, memory=memory, dtypes=dtypes, device=asked.device)
    give_back_memory()
    if asked.random_weights:
        system = with_random_weights(_outlined(asked), stages, asked.device, made.dtype)
    else:
        loaded = load(asked.model, device=asked.device, dtype=made.dtype, offload=made.offload)
        assert isinstance(loaded, LaVie)
        system = _with_steps(loaded, asked.steps)
    if asked.compile:
        system.compile_networks()
    # What is loaded or compiled when it is first used is neither a step's time nor its memory.
    cells = _CELLS * times * LatentCodec(system.vae).spatial_factor
    _draw(system, stages, made, 1 + system.config.factor, Size(cells, cells), None)
    clock = Clock(asked.device)
    _draw(system, stages, made, frames, size, clock)
    clock.end()
    return made, clock


def _draw(
    system: LaVie,
    stages: Sequence[str],
    made: Plan,
    num_frames: int,
    size: Size,
    clock: Clock | None,
) -> None:
    """Draws a video into a file, as the command line does."""
    video = system(
        PROMPT,
        num_frames=num_frames,
        size=size,
        stages=stages,
        cuts=made.cuts,
        on_step=clock,
        output_type="pieces",
    )
    with TemporaryDirectory() as folder:
        video.save(Path(folder) / "video.mp4")


def _outlined(asked: argparse.Namespace) -> LaVie:
    """The model without weights."""
    system = outline(asked.model)
    if not isinstance(system, LaVie):
        raise RequestError(f"{asked.model} is a {type(system).__name__}, which cannot be planned.")
    return _with_steps(system, asked.steps)


def _with_steps(system: LaVie, steps: int | None) -> LaVie:
    """The model, with so many sampling steps in every stage."""
    if steps is not None:
        if steps < 2:
            raise RequestError(f"--steps {steps} leaves no time between steps. Use e.g. 2.")
        names = ("steps", "interpolation_steps", "upscale_steps")
        system.register_to_config(**dict.fromkeys(names, steps))
    return system


def table(made: Plan, clock: Clock, rate: float) -> str:
    """A line for each stage."""
    lines = [
        "| stage | steps | s a step | s in all | predicted | TFLOP/s | share | peak | predicted |",
        "|---" * 9 + "|",
    ]
    parts = [line for line in made.lines if line.name in NEEDED]
    *peaks, _ = clock.peaks
    for line, spent, total, found in zip(parts, clock.steps, clock.totals, peaks, strict=True):
        each, peak = statistics.median(spent), statistics.median_low(found)
        reached = line.flops / (each * total)
        lines.append(
            f"| {line.name} | {total} | {each:.3g} | {each * total:.3g} | "
            f"{seconds(line.flops, rate):.3g} | {reached / 1e12:.3g} | {reached / rate:.0%} | "
            f"{peak / 1e6:.0f} MB | {line.above / 1e6:.0f} MB |"
        )
    most = max(max(found) for found in clock.peaks)
    planned = max(line.above for line in made.lines)
    lines += ["", f"At most {most / 1e6:.0f} MB, decoding included; predicted {planned / 1e6:.0f}."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages")
    parser.add_argument("--model", default="lavie-mini", help="known name or folder")
    parser.add_argument("--random-weights", action="store_true", help="in place of the model's")
    parser.add_argument("--device", default="cpu", help="as torch names it")
    parser.add_argument("--dtype", default="fp32", help="fp32, bf16 or fp16")
    parser.add_argument("--stages", help="the first so many, as in generate")
    parser.add_argument("--size", help="of the finished video")
    parser.add_argument("--num-frames", type=int, help="of the finished video")
    parser.add_argument("--steps", type=int, help="of every stage, 2 or more")
    parser.add_argument("--memory", help="as in generate")
    parser.add_argument("--compile", action="store_true", help="as in generate")
    asked = parser.parse_args(arguments)
    try:
        made, clock = timed(asked)
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    rate = matrix_rate(asked.device, made.dtype)
    said = " ".join(sys.argv[1:] if arguments is None else arguments)
    print(
        f"{said}: torch {torch.__version__}, {torch.get_num_threads()} CPU threads; matrices at "
        f"{rate / 1e12:.3g} TFLOP/s in {made.dtype}; all latents finite: {clock.finite}\n"
    )
    print(table(made, clock, rate))


if __name__ == "__main__":
    main()
