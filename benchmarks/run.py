"""Benchmarks of the miniature: `make bench`. Prints a table, and writes it to benchmarks/results/.

Every scenario is timed at least five times after one warm-up; the median is reported. Machines are
noisy: compare figures of one run with each other, not across machines.
"""

import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import diffusers
import torch

from mutoscope.data.batches import RenderedBatches
from mutoscope.encoding.text import TextEncoder
from mutoscope.recipes.tasks import DenoiserTask
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems import load
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Batch
from mutoscope.world.factors import Kind
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene

PROMPT = "a red star drifts left over the sea at night"
REPEATS = 5


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        scenario: What was done.
        seconds: Median wall clock of one repeat.
        rate: What comes out per second, with its unit.
    """

    scenario: str
    seconds: float
    rate: str


def median_seconds(work: Callable[[], object]) -> float:
    """Median wall clock of `work` after one warm-up."""
    work()
    spent = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def generation() -> list[Row]:
    """From a prompt to frames, at the model's own settings; loading comes first and is separate."""
    start = time.perf_counter()
    system = load()
    assert isinstance(system, LaVie)
    loading = time.perf_counter() - start
    rows = [Row("load the miniature", loading, "")]
    for count in range(1, len(system.stages) + 1):
        stages = system.stages[:count]
        frames = system.native_num_frames(stages)
        clip = median_seconds(partial(system, PROMPT, seeds=0, stages=stages))
        name = f"generate {frames} frames ({', '.join(stages)})"
        rows.append(Row(name, clip, f"{frames / clip:.1f} frames/s"))
    four = median_seconds(lambda: system([PROMPT] * 4, seeds=0, stages=system.stages[:1]))
    still = median_seconds(lambda: system(PROMPT, seeds=0, num_frames=1))
    keys = system.config.num_frames
    return [
        *rows,
        Row(f"generate 4 x {keys} key frames", four, f"{4 * keys / four:.1f} frames/s"),
        Row("generate a still", still, f"{1 / still:.1f} stills/s"),
    ]


def memory() -> list[Row]:
    """Peak memory of a process that loads the miniature and makes one clip, and nothing else."""
    code = (
        "import resource, mutoscope; mutoscope.load()('a red star over the sea', seeds=0); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    return [
        Row("start, load, generate a clip", seconds, f"{float(done.stdout):.0f} MB at the peak")
    ]


def preview() -> list[Row]:
    """From the command to the preview of its key frames: Python, libraries, weights, drawing."""
    command = [sys.executable, "-m", "mutoscope.cli.main", "generate", PROMPT, "--out", "v.mp4"]

    def once() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process,
        ):
            while not (Path(folder) / "v.preview.mp4").exists():
                if process.poll() is not None:
                    raise RuntimeError(f"it stopped before the preview: {process.returncode}")
                time.sleep(0.01)
            process.kill()

    return [Row("from the command to the preview", median_seconds(once), "")]


def training() -> list[Row]:
    """One optimizer step of the U-Net on stills and, jointly, on clips; latents are at hand."""
    system = load()
    text = TextEncoder(system.text_encoder, system.tokenizer)
    channels = system.vae.config.latent_channels
    rows = []
    for temporal, clips, images in ((False, 64, 0), (True, 4, 4)):
        task = DenoiserTask()
        network = task.network(
            channels=channels,
            text_width=text.model.config.hidden_size,
            temporal=temporal,
        )
        stage = KeyFrames(network, task.process, text)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
        frames = 16 if temporal else 1
        batch = Batch(
            captions=(PROMPT,) * clips,
            latents=torch.randn(clips, channels, frames, 10, 16),
            image_captions=((PROMPT,) * images,) * clips if images else (),
            image_latents=torch.randn(clips, channels, images, 10, 16) if images else None,
        )
        generator = torch.Generator().manual_seed(0)

        def step(
            stage: KeyFrames = stage,
            batch: Batch = batch,
            optimizer: torch.optim.Optimizer = optimizer,
            generator: torch.Generator = generator,
        ) -> None:
            torch.autograd.backward(stage.loss(batch, generator).value)
            optimizer.step()
            optimizer.zero_grad()

        seconds = median_seconds(step)
        unit = f"clips/s (16 frames + {images} stills each)" if temporal else "stills/s"
        name = "train jointly" if temporal else "train on stills"
        rows.append(Row(f"{name}, batch {clips}", seconds, f"{clips / seconds:.1f} {unit}"))
        made = median_seconds(partial(batch_of_pixels, clips, images))
        share = f"{made / (made + seconds):.0%} of the time, were no clip seen twice"
        rows.append(Row("render what that step saw", made, share))
    return rows


def batch_of_pixels(clips: int, images: int) -> list[object]:
    """The frames of one training step, drawn and rendered anew."""
    kind: Kind = "video" if images else "image"
    frames = 16 if images else 1
    scenes = [draw_scene(seed, split="train", kind=kind) for seed in range(clips)]
    stills = [draw_scene(seed, split="train", kind="image") for seed in range(clips * images)]
    return [
        *(render(scene, num_frames=frames) for scene in scenes),
        *(render(scene, num_frames=1) for scene in stills),
    ]


def rendering() -> list[Row]:
    """The world: frames a second of clips, and what a batch of fresh clips costs."""
    scenes = [draw_scene(seed, split="train") for seed in range(32)]
    clips = median_seconds(lambda: [render(scene) for scene in scenes])
    batches = RenderedBatches(batch_size=32, num_frames=1)
    stills = median_seconds(lambda: batches(0))
    return [
        Row("render 32 clips of 16 frames", clips, f"{32 * 16 / clips:.0f} frames/s"),
        Row("draw and render 32 stills", stills, f"{32 / stills:.0f} stills/s"),
    ]


def main() -> None:
    """Runs all scenarios and writes the table."""
    rows = [*rendering(), *memory(), *preview(), *generation(), *training()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    date = datetime.now(UTC).date().isoformat()
    lines = [
        f"# The miniature on {platform.processor() or platform.machine()}, "
        f"{torch.get_num_threads()} threads, {date}",
        "",
        f"`make bench` at {commit}; torch {torch.__version__}, diffusers {diffusers.__version__}, "
        f"Python {platform.python_version()}. Median of {REPEATS} after one warm-up. "
        f"Peak memory of the whole run {peak:.0f} MB.",
        "",
        "| scenario | seconds | rate |",
        "|---|---|---|",
        *(f"| {row.scenario} | {row.seconds:.3f} | {row.rate} |" for row in rows),
        "",
    ]
    report = "\n".join(lines)
    print(report)
    name = f"mini_{platform.machine()}_{torch.get_num_threads()}threads_{date}_{commit}.md"
    Path(__file__).with_name("results").joinpath(name).write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
