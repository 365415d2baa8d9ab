"""SuperResolution: a small video becomes a large one (LaVie, arXiv 2309.15103 §4.3)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from diffusers import SchedulerMixin
from jaxtyping import Float
from torch import Generator, Tensor, nn

from mutoscope.diffusion.denoise import OnStep, draw_noise
from mutoscope.diffusion.frame_noise import FrameNoise
from mutoscope.diffusion.guidance import Guidance
from mutoscope.diffusion.process import Process, VariancePreserving
from mutoscope.diffusion.tiles import Tiles
from mutoscope.diffusion.times import TimeDraw
from mutoscope.diffusion.windows import windows
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.stages.stage import EVEN_TIMES
from mutoscope.stages.text_stage import TextStage, first_known
from mutoscope.types import Batch, Latents, Loss, Times, Video

LOW = "low"
"""The small video's name among a condition's companions."""
LOW_LAW = VariancePreserving(betas="linear")


class SuperResolution(TextStage):
    """Denoises latents of a large video, told the small one, how noisy that is, and a sentence.

    The latents lie on the small video's own grid (an autoencoder of factor 4 for an enlargement of
    4), so its pixels are laid beside them on channels. Noise is added to these pixels, and the
    network is told how much, so that it learns not to trust them further than that: they will be
    pixels that another network drew. In training a clip's first frames are now and then known, so
    that a long video can be made in windows of which each begins in the one before.

    Args:
        network: A `VideoUNet` of `num_noise_levels`, which takes latents and three channels more.
        process: The noise law of the latents; the paper predicts v.
        text: The text encoder; frozen.
        low_process: The noise law of the small video.
        most_known: Most frames known at the beginning of a training clip, in half of the clips; 0
            for a model of single pictures.
        most_noise: The highest level of noise on the small video that it learns and is then given;
            None for all that its network can tell apart.
        text_dropout: Share of captions replaced by the empty one, for classifier-free guidance.
        times: How the times of a training batch are drawn.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        text: TextEncoder,
        *,
        low_process: Process = LOW_LAW,
        most_known: int = 0,
        most_noise: int | None = None,
        text_dropout: float = 0.1,
        times: TimeDraw = EVEN_TIMES,
    ) -> None:
        super().__init__(network, process, text, text_dropout=text_dropout, times=times)
        self.low_process = low_process
        self.most_known = most_known
        levels: int = network.config.num_noise_levels  # type: ignore[union-attr, assignment]
        self.most_noise = levels - 1 if most_noise is None else most_noise

    def knowing(
        self, condition: Condition, low: Video, noise_level: int, generators: Sequence[Generator]
    ) -> Condition:
        """The condition with the small video it is about.

        Args:
            condition: Of as many samples, e.g. from `describe`.
            low: Pixels in [-1, 1], B 3 F h w, on the grid of the latents.
            noise_level: A time of `low_process`: how much noise is added to them, from 0. More
                lets the network draw more detail of its own.
            generators: One per sample.

        Raises:
            RequestError: The network was not trained with so much noise.
        """
        self.check_noise_level(noise_level)
        noise = draw_noise(tuple(low.shape[1:]), generators)
        return self._knowing(condition, low, noise, noise_level)

    def knowing_in_parts(
        self,
        condition: Condition,
        low: Callable[[slice], Video],
        size: tuple[int, int, int],
        noise_level: int,
        generators: Sequence[Generator],
    ) -> Callable[[slice], Condition]:
        """The same of any frames of a small video that is never there as a whole.

        Args:
            condition: As of `knowing`.
            low: Frames of the small video, as of `knowing`.
            size: Its number of frames, height and width.
            noise_level: As of `knowing`.
            generators: As of `knowing`; they go on as after it.

        Raises:
            RequestError: As `knowing`.
        """
        self.check_noise_level(noise_level)
        noise = FrameNoise((3, *size), generators)
        return lambda part: self._knowing(condition, low(part), noise.of(part), noise_level)

    def _knowing(
        self, condition: Condition, low: Video, noise: Tensor, noise_level: int
    ) -> Condition:
        level = torch.full((len(low),), noise_level, device=low.device)
        noisy = self.low_process.add_noise(low, noise.to(low), level.float())
        return replace(condition, beside={**condition.beside, LOW: noisy}, noise_level=level)

    def check_noise_level(self, noise_level: int) -> None:
        """Refuses a level of noise on the small video that it did not learn.

        Raises:
            RequestError: As said.
        """
        most = self.most_noise
        if not 0 <= noise_level <= most:
            raise RequestError(
                f"noise level {noise_level} cannot be used: this model knows 0 (trust the small "
                f"video) to {most} (invent detail). Use e.g. {min(50, most)}."
            )

    def clean(self, batch: Batch) -> Latents:
        assert batch.latents is not None
        return batch.latents

    def condition_for_training(self, batch: Batch, generator: Generator) -> Condition:
        """States of the captions, some dropped; `batch.video`, the small video, with noise of some
        level; and in half of the clips the first frames."""
        states, mask = self.states_for_training(batch.captions, generator)
        low, clean = batch.video, self.clean(batch)
        assert low is not None
        level = self._levels(len(low), generator)
        noise = torch.randn(low.shape, generator=generator).to(low)
        level = level.to(low.device)
        told = Condition(
            text=states,
            text_mask=mask,
            null_text=states,
            null_mask=mask,
            noise_level=level,
            beside={LOW: self.low_process.add_noise(low, noise, level.float())},
        )
        return first_known(told, clean, self.most_known, generator)

    def _levels(self, number: int, generator: Generator) -> Tensor:
        """Levels of noise of a training batch, half of them in the lowest eighth.

        Most videos are enlarged with little noise, and drawing from pixels that noise has drowned
        is another problem: spread evenly, nine levels in ten teach next to nothing of the first.
        """
        share = torch.rand(number, generator=generator) ** 3
        return (share * (self.most_noise + 1)).long()

    def network_input(self, noisy: Latents, time: Times, condition: Condition) -> dict[str, object]:
        low = condition.beside[LOW].to(noisy)
        if low.shape[2:] != noisy.shape[2:]:
            raise RequestError(
                f"a small video of {tuple(low.shape[2:])} frames, height and width does not fit "
                f"latents of {tuple(noisy.shape[2:])}: they lie on one grid. Use an autoencoder "
                "whose factor is the enlargement."
            )
        told = super().network_input(torch.cat([noisy, low], dim=1), time, condition)
        return told | {"noise_level": condition.noise_level}

    def reduce(self, error: Tensor, batch: Batch) -> Loss:
        """The mean over everything that was not known."""
        return Loss(error.mean(), {})

    def enlarge(
        self,
        told: Callable[[slice], Condition],
        shape: tuple[int, int, int, int],
        *,
        window: int,
        overlap: int,
        tiles: Tiles,
        scheduler: SchedulerMixin,
        steps: int,
        guidance: Guidance,
        generators: Sequence[Generator],
        apart: bool = False,
        on_step: OnStep | None = None,
    ) -> Iterator[Float[Tensor, "B c F h w"]]:
        """Latents of the large video, window after window; see `sample_windows`.

        Args:
            told: What the denoiser is told of some frames, asked for window after window; see
                `knowing_in_parts`, and `part_of` for a small video that is there as a whole.
            shape: Channels, frames, height and width of the latents of each sample.
            window: Frames made at once, as in training.
            overlap: Frames that a window shares with the one before. It begins in the first half
                of them, at most `most_known` of the training, and blends into the others.
            tiles: Parts of the frame made at once.
            scheduler: The solver, of the same noise law as `process`.
            steps: Network evaluations per tile and window.
            guidance: How predictions with and without text are combined.
            generators: One per sample, so that a sample depends on its seed and not on its batch.
            apart: Whether each branch of guidance has a network call of its own.
            on_step: Called after each step with steps done and in all windows together; raise
                `Cancelled` in it to stop.
        """
        channels, num_frames, height, width = shape
        parts = windows(num_frames, size=window, overlap=overlap)
        yield from self.sample_windows(
            parts,
            (told(part.frames) for part in parts),
            (channels, height, width),
            tiles=tiles,
            scheduler=scheduler,
            steps=steps,
            guidance=guidance,
            generators=generators,
            blended=overlap // 2,
            apart=apart,
            on_step=on_step,
        )


def part_of(condition: Condition, frames: slice) -> Condition:
    """What is told of some frames, where all of the small video is told.

    Args:
        condition: See `SuperResolution.knowing`.
        frames: Which.
    """
    low = condition.beside[LOW][:, :, frames]
    return replace(condition, beside={**condition.beside, LOW: low})
