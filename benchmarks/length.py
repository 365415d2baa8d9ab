"""Whether memory depends on the length of a video: peaks of `mutoscope generate`, as a table.

Command: `OMP_NUM_THREADS=1 python -m benchmarks.length [FRAMES ...]`; 61, 121 and 601 by default.
A cascade of random weights draws key frames clip after clip (`--seconds`) and what lies between
them at 320x512, in one step each: its networks are next to nothing, so that frames are most of what
it holds. Every line is a process of its own; the peak is the most memory that it had at any time.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import AutoencoderKL

from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.first_frame import told_first_frames
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Size
from tests.conftest import SENTENCE, build_tiny_system

SIZE = Size(320, 512)
FRAMES = (61, 121, 601)
STAGES = "base,interpolate"


def network(channels: int) -> VideoUNet:
    """A denoiser of latents that takes next to no time."""
    denoiser: VideoUNet = VideoUNet(
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention_levels=(False, False),
        num_attention_heads=1,
        cross_attention_dim=32,
        norm_num_groups=8,
    )
    return denoiser


def save_model(folder: Path) -> float:
    """Writes a model of LaVie's frame sizes and clip lengths; returns its frame rate, Hz."""
    torch.manual_seed(0)
    tiny = build_tiny_system()
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        layers_per_block=1,
    )
    system = LaVie(
        text_encoder=tiny.text_encoder,
        tokenizer=tiny.tokenizer,
        vae=vae,
        base=told_first_frames(network(4)),
        scheduler=tiny.scheduler,
        interpolator=network(8),
        interpolator_scheduler=tiny.scheduler,
        height=SIZE.height,
        width=SIZE.width,
        guidance_scale=1.0,
        interpolation_guidance_scale=1.0,
        interpolation_steps=1,
        steps=1,
    )
    system.save_pretrained(folder)
    return system.native_fps(system.stages)


def peak(model: Path, num_frames: int, fps: float, out: Path) -> int:
    """Most memory, bytes, of a process that makes a video of so many frames."""
    command = [sys.executable, "-m", "mutoscope.cli.main", "generate", SENTENCE]
    options = {"model": model, "stages": STAGES, "seconds": num_frames / fps, "out": out}
    command += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(lengths: list[int]) -> None:
    """Prints a line for each length."""
    print("| frames | peak | of the first |")
    print("|---|---|---|")
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        fps = save_model(model)
        first = None
        for num_frames in lengths:
            found = peak(model, num_frames, fps, Path(folder) / "video.mp4")
            first = first or found
            print(f"| {num_frames} | {found / 1e6:.0f} MB | {found / first:.2f} |", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(FRAMES))
