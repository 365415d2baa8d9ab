"""The smallest real thing to train: a convolutional denoiser of random pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Generator, nn

from mutoscope.training.optim import AdamW, Schedule
from mutoscope.training.recipe import Recipe, Run
from mutoscope.types import Batch, Loss, Objective


class Denoising:
    """Predicts a picture from the picture with noise; a batch norm gives it buffers to carry."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network}

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        assert batch.video is not None
        clean = batch.video[:, :, 0]
        noise = torch.randn(clean.shape, generator=generator)
        error = (self.network(clean + noise) - clean).square().mean()
        return Loss(error, {"noise": noise.mean()})


def network() -> nn.Module:
    """A few thousand parameters, laid out in memory as the real networks are."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.Conv2d(16, 3, 1),
    ).to(memory_format=torch.channels_last)


def pictures(number: int, batch_size: int = 4) -> Batch:
    """Batch `number`: smooth pictures, so that there is something to learn."""
    generator = torch.Generator().manual_seed(number)
    coarse = torch.rand(batch_size, 3, 2, 2, generator=generator) * 2 - 1
    return Batch(video=nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")[:, :, None])


@dataclass(frozen=True, kw_only=True)
class TinyTask:
    """Trains `Denoising`; what a test wants otherwise it overrides."""

    batch_size: int = 4

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        return Run(
            objective=self.objective(),
            batches=self.batch,
            evaluate=error_on_test_pictures,
            export=export,
        )

    def objective(self) -> Objective:
        return Denoising(network())

    def batch(self, number: int) -> Batch:
        return pictures(number, self.batch_size)


def error_on_test_pictures(
    modules: Mapping[str, nn.Module], step: int, folder: Path
) -> Mapping[str, float]:
    """Reconstruction error without noise; leaves a file as a sample sheet would be left."""
    video = pictures(10**6).video
    assert video is not None
    error = float((modules["network"](video[:, :, 0]) - video[:, :, 0]).square().mean())
    (folder / "sheet.txt").write_text(f"{step} {error}")
    return {"error": error}


def export(modules: Mapping[str, nn.Module], folder: Path) -> None:
    """Writes the network."""
    state = modules["network"].state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "n.safetensors")


def tiny_recipe(name: str = "tiny", **changes: object) -> Recipe:
    """A recipe that trains in well under a second."""
    values: dict[str, object] = {
        "name": name,
        "task": TinyTask(),
        "steps": 20,
        "optimizer": AdamW(lr=1e-2),
        "schedule": Schedule(warmup=3, decay=0.5),
        "ema": 0.9,
        "evaluate_every": 7,
        "save_every": 5,
    }
    return Recipe(**(values | changes))  # type: ignore[arg-type]
