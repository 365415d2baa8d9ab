"""Stage: `loss` and `sample` around one denoiser, a pair, so that the two cannot drift apart."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from diffusers import SchedulerMixin
from torch import Generator, Tensor, nn

from mutoscope.diffusion.denoise import OnStep, denoise, draw_noise, pinned
from mutoscope.diffusion.guidance import Guidance
from mutoscope.diffusion.process import Process
from mutoscope.diffusion.reuse import Reuse
from mutoscope.diffusion.tiles import Tiles
from mutoscope.diffusion.times import TimeDraw, UniformTimes
from mutoscope.diffusion.windows import Window
from mutoscope.encoding.condition import Condition
from mutoscope.types import Batch, Latents, Loss, Times

EVEN_TIMES = UniformTimes()


class Stage(ABC):
    """One denoiser with its noise law.

    A subclass says what its network is told (`network_input`), which training and sampling share.

    Args:
        network: The denoiser, a diffusers model that takes `B C F H W` latents.
        process: The noise law, and what the network predicts under it.
        times: How the times of a training batch are drawn.
    """

    def __init__(
        self, network: nn.Module, process: Process, *, times: TimeDraw = EVEN_TIMES
    ) -> None:
        self.network = network
        self.process = process
        self.times = times

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network}

    @abstractmethod
    def clean(self, batch: Batch) -> Latents:
        """The noise-free latents of a training batch, frames and appended images on one axis."""

    @abstractmethod
    def condition_for_training(self, batch: Batch, generator: Generator) -> Condition:
        """What the denoiser is told of a training batch, with dropout."""

    @abstractmethod
    def network_input(self, noisy: Latents, time: Times, condition: Condition) -> dict[str, object]:
        """The network's keyword arguments for noisy latents at `time`."""

    @abstractmethod
    def reduce(self, error: Tensor, batch: Batch) -> Loss:
        """The weighted squared error (B C F H W) of a batch as a loss."""

    def predict(self, noisy: Latents, time: Times, condition: Condition) -> Latents:
        """One call of the network."""
        prediction: Latents = self.network(**self.network_input(noisy, time, condition))
        return prediction

    def predict_from(
        self, noisy: Latents, time: Times, condition: Condition, deep: Tensor | None, layers: int
    ) -> tuple[Latents, Tensor]:
        """One call of the network, on top of the deep features of another if given, and these.

        Args:
            noisy: As of `predict`.
            time: As of `predict`.
            condition: As of `predict`.
            deep: Deep features; None makes them anew.
            layers: How many layers lie above them; see `Reuse`.
        """
        told = self.network_input(noisy, time, condition)
        prediction, deep = self.network(**told, layers_anew=layers, deep=deep)
        assert deep is not None
        return prediction, deep

    def read_once(self, condition: Condition) -> Condition:
        """The condition with all that one sampling need not make in every step; as it is, if none.

        It holds for the weights that the network has now.
        """
        return condition

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        """Squared error of the prediction at one random time per batch row.

        Frames that the condition says are known are shown clean, as in sampling, and count nothing.

        Source: LaVie (arXiv 2309.15103) §4.1, Eq. 3.
        """
        clean = self.clean(batch)
        condition = self.condition_for_training(batch, generator)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        time = self.times.draw(clean.shape[0], generator).to(clean.device)
        noisy = pinned(self.process.add_noise(clean, noise, time), condition)
        error = self.predict(noisy, time, condition) - self.process.target(clean, noise, time)
        weight = self.process.weight(time).view(-1, 1, 1, 1, 1)
        if condition.frame_mask is not None:
            unknown = 1 - condition.frame_mask.float()
            weight = weight * (unknown / unknown.mean())[:, None, :, None, None]
        return self.reduce(weight * error.float().square(), batch)

    def sample(
        self,
        condition: Condition,
        shape: tuple[int, int, int, int],
        *,
        scheduler: SchedulerMixin,
        steps: int,
        guidance: Guidance,
        generators: Sequence[Generator],
        apart: bool = False,
        until: float = 0.0,
        on_step: OnStep | None = None,
    ) -> Latents:
        """Draws latents from noise.

        Args:
            condition: What the denoiser is told, one row per sample.
            shape: Channels, frames, height and width of each sample, in latent cells.
            scheduler: The solver, of the same noise law as `process`.
            steps: Network evaluations.
            guidance: How predictions with and without text are combined.
            generators: One per sample, so that a sample depends on its seed and not on its batch.
            apart: Whether each branch of guidance has a network call of its own.
            until: See `denoise`.
            on_step: Called after each step; raise `Cancelled` in it to stop.
        """
        parameter = next(self.network.parameters())
        noise = draw_noise(shape, generators).to(parameter.device, parameter.dtype)
        return denoise(
            self.predict,
            noise,
            scheduler=scheduler,
            steps=steps,
            condition=condition,
            guidance=guidance,
            generator=generators,
            apart=apart,
            once=self.read_once,
            law=self.process,
            until=until,
            on_step=on_step,
        )

    def sample_windows(
        self,
        parts: Sequence[Window],
        conditions: Iterable[Condition],
        shape: tuple[int, int, int],
        *,
        tiles: Tiles,
        scheduler: SchedulerMixin,
        steps: int,
        guidance: Guidance,
        generators: Sequence[Generator],
        blended: int = 0,
        apart: bool = False,
        on_step: OnStep | None = None,
        reuse: Reuse | None = None,
    ) -> Iterator[Latents]:
        """Draws latents of any length, window after window; together they are all frames.

        Each window begins with the last frames of the one before, finished and unchanged, but for
        the `blended` ones: those both windows draw, and what is given lies between the two, nearer
        to the later one frame by frame, so there is no seam in time. Within a window tiles are
        blended at every step. Memory depends on the sizes of window and tile, not on the length of
        the video. What is given of a window lacks its `blended` last frames, but for the last one.

        Args:
            parts: The windows (see `windows`).
            conditions: What the denoiser is told in each; taken when the window begins.
            shape: Channels, height and width of each sample, in latent cells.
            tiles: Parts of the frame drawn at once.
            scheduler: The solver, of the same noise law as `process`.
            steps: Network evaluations per tile and window.
            guidance: How predictions with and without text are combined.
            generators: One per sample, so that a sample depends on its seed and not on its batch.
            blended: How many of the frames that a window is said to know it draws all the same.
            apart: Whether each branch of guidance has a network call of its own.
            on_step: Called after each step with steps done and in all windows together; raise
                `Cancelled` in it to stop.
            reuse: How deep features of the network are reused between steps; None is exact.
        """
        channels, height, width = shape
        parameter = next(self.network.parameters())
        before: Tensor | None = None
        share = torch.arange(1, blended + 1, device=parameter.device) / (blended + 1)
        for number, (part, condition) in enumerate(zip(parts, conditions, strict=True)):
            noise = draw_noise((channels, part.stop - part.start, height, width), generators)
            noise = noise.to(parameter.device, parameter.dtype)
            told, finished = condition, part.known - blended if part.known else 0
            if before is not None and finished:
                frames = torch.zeros_like(noise)
                frames[:, :, :finished] = before[:, :, -part.known :][:, :, :finished]
                mask = torch.arange(noise.shape[2], device=noise.device) < finished
                told = replace(condition, frames=frames, frame_mask=mask.expand(len(noise), -1))
            # What is reused is that of one window.
            predict = self.predict if reuse is None else reuse.over(self.predict_from)
            drawn = denoise(
                tiles.over(predict),
                noise,
                scheduler=scheduler,
                steps=steps,
                condition=told,
                guidance=guidance,
                generator=generators,
                apart=apart,
                once=self.read_once,
                law=self.process,
                on_step=None if on_step is None else _counted(on_step, number, len(parts)),
            )
            if before is not None and part.known and blended:
                both = drawn[:, :, finished : part.known]
                weight = share.to(both)[:, None, None]
                drawn[:, :, finished : part.known] = before[:, :, -blended:].lerp(both, weight)
            before = drawn
            last = number == len(parts) - 1
            yield drawn[:, :, finished : drawn.shape[2] - (0 if last else blended)]


def _counted(on_step: OnStep, number: int, of: int) -> OnStep:
    """The callback with steps counted over all windows."""

    def counted(done: int, total: int, latents: Tensor) -> None:
        on_step(number * total + done, of * total, latents)

    return counted
