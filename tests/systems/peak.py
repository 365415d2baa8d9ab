"""Measures what a piece of work takes beside what was predicted, in a process of its own.

`python -m tests.systems.peak WORK FRAMES HEIGHT WIDTH [PRECISION [usual]]` prints one JSON object;
WORK is a network of LaVie's at the middle size ("base", "interpolation", "super_resolution"; with
attention in four parts "base/4" and so on), the decoding of frames ("decode"), or "lavie-mini" for
a whole video of it (height and width in pixels).
With "usual" the C library may keep what is freed, as it does without `--memory`.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import AutoencoderKL
from torch import nn

from mutoscope.cli.making import give_back_memory
from mutoscope.encoding.codec import LatentCodec
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems import load
from mutoscope.systems.cost import cost_of
from mutoscope.systems.load import outline
from mutoscope.systems.plan import matrix_rate, plan, task_of
from mutoscope.systems.weights import LAVIE_BASE, LAVIE_INTERPOLATION, LAVIE_SUPER_RESOLUTION
from mutoscope.types import Size

NETWORKS = {
    "base": LAVIE_BASE,
    "interpolation": LAVIE_INTERPOLATION,
    "super_resolution": LAVIE_SUPER_RESOLUTION,
}
WIDTHS, TEXT = (64, 128, 256, 256), 256
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SMALLEST = (2, 8, 8)
Shape = tuple[int, int, int]


def resident(name: str) -> int:
    """Bytes of this process in memory: "VmRSS" now, "VmHWM" at the most since `forget`."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))


def measured(work: Callable[[Shape], object], shape: Shape) -> tuple[int, float]:
    """Peak above what was there before, bytes, and seconds; the code itself has run once before."""
    work(SMALLEST)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before, start = resident("VmRSS"), time.perf_counter()
    work(shape)
    return resident("VmHWM") - before, time.perf_counter() - start


def network_work(name: str, device: str, dtype: torch.dtype) -> Callable[[Shape], object]:
    """One call of a network of random weights, with guidance."""
    name, _, parts = name.partition("/")
    with torch.device(device):
        network = VideoUNet(
            **NETWORKS[name]
            | {
                "block_out_channels": WIDTHS,
                "num_attention_heads": 2,
                "cross_attention_dim": TEXT,
            }
        )
    nn.Module.to(network.eval(), dtype)
    noisy = network.config.num_noise_levels is not None
    network.set_parts(int(parts or 1))

    def work(shape: Shape) -> object:
        return network(
            sample=torch.zeros(2, network.config.in_channels, *shape, device=device, dtype=dtype),
            timestep=torch.ones(2, device=device),
            encoder_hidden_states=torch.zeros(2, 77, TEXT, device=device, dtype=dtype),
            text_mask=torch.ones(2, 77, device=device, dtype=torch.bool),
            noise_level=torch.zeros(2, dtype=torch.long) if noisy else None,
        )

    return work


def decode_work(device: str, dtype: torch.dtype) -> Callable[[Shape], object]:
    """The decoding of some frames at once."""
    with torch.device(device):
        vae = AutoencoderKL(
            block_out_channels=WIDTHS,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    codec = LatentCodec(nn.Module.to(vae.eval(), dtype))
    return lambda shape: codec.decode(torch.zeros(1, 4, *shape, device=device, dtype=dtype))


def main(name: str, frames: int, height: int, width: int, dtype: torch.dtype) -> None:
    """Predicts, measures, prints."""
    shape = frames, height, width
    if name == "lavie-mini":
        size = Size(height, width)
        system = outline(name)
        made = plan(
            system,
            task_of(system, ("base",), frames, size, 2, system.config.guidance_scale),
            dtypes=(dtype,),
        )
        predicted, flops = max(line.above for line in made.lines), made.flops
        real = load(name, dtype=dtype)
        grid = LatentCodec(real.vae).spatial_factor
        words = " ".join(real.config.vocabulary[:24])  # nearly as long as a prompt may be

        def whole(shape: Shape) -> object:
            small = shape == SMALLEST
            asked = Size(*(side * grid for side in SMALLEST[1:])) if small else size
            made = real(
                words,
                num_frames=shape[0],
                size=asked,
                steps=2,
                stages=("base",),
                output_type="pieces",
            )
            with TemporaryDirectory() as folder:
                made.save(Path(folder) / "v.mp4")
            return made

        peak, seconds = measured(whole, shape)
    else:
        make = decode_work if name == "decode" else None
        works = [
            make(device, dtype) if make else network_work(name, device, dtype)
            for device in ("meta", "cpu")
        ]
        cost = cost_of(lambda: works[0](shape))
        predicted, flops = cost.peak, cost.flops
        with torch.inference_mode():
            peak, seconds = measured(works[1], shape)
    rate = flops / seconds / matrix_rate("cpu", dtype)
    print(json.dumps({"predicted": predicted, "measured": peak, "flops": flops, "share": rate}))


if __name__ == "__main__":
    work, *numbers = sys.argv[1:5]
    precision, *habits = sys.argv[5:] or ["fp32"]
    if habits != ["usual"]:
        give_back_memory()
    torch.manual_seed(0)
    main(work, *map(int, numbers), DTYPES[precision])
