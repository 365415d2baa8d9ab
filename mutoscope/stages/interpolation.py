"""Interpolation: a few key frames become a smooth video (LaVie, arXiv 2309.15103 §4.2)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from diffusers import SchedulerMixin
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from mutoscope.diffusion.denoise import OnStep
from mutoscope.diffusion.guidance import Guidance
from mutoscope.diffusion.process import Process
from mutoscope.diffusion.tiles import Tiles
from mutoscope.diffusion.windows import Window, windows
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.stages.text_stage import TextStage, first_known
from mutoscope.types import Batch, Latents, Loss, Times

KEYS = "keys"
"""The key frames' name among a condition's companions."""


class Interpolation(TextStage):
    """Denoises a video of a higher frame rate, told its key frames and its sentence.

    Each key frame is repeated in place of its neighbours and laid beside the noise on channels, so
    that the network needs twice the channels, no mask and no other change. Every frame is drawn
    anew, those at the key frames' times too: the video need not repeat what they got wrong.

    Args:
        network: A `VideoUNet` of twice as many input as output channels (see `widen`); trained
            whole.
        process: The noise law.
        text: The text encoder; frozen.
        factor: Frames from one key frame to the next, at least 2 (LaVie: 4, 16 frames become 61).
        most_known: Most frames known at the beginning of a training clip, in half of the clips, so
            that a long video can be made in windows; 0, as in the paper, for none.
        text_dropout: Share of captions replaced by the empty one, for classifier-free guidance.

    Raises:
        RequestError: `factor` is below 2.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        text: TextEncoder,
        *,
        factor: int = 4,
        most_known: int = 0,
        text_dropout: float = 0.1,
    ) -> None:
        super().__init__(network, process, text, text_dropout=text_dropout)
        if factor < 2:
            raise RequestError(
                f"factor={factor} puts no frame between key frames: it is at least 2. Use e.g. 4."
            )
        self.factor = factor
        self.most_known = most_known

    def knowing(self, condition: Condition, keys: Latents) -> Condition:
        """The condition with the key frames it is about.

        Args:
            condition: Of as many samples, e.g. from `describe`.
            keys: Scaled latents of K key frames per sample, B C K h w.
        """
        return replace(condition, beside={**condition.beside, KEYS: keys})

    def clean(self, batch: Batch) -> Latents:
        assert batch.latents is not None
        return batch.latents

    def condition_for_training(self, batch: Batch, generator: Generator) -> Condition:
        """States of the captions, some dropped, the clips' own frames at the lower rate, and first
        frames that are known."""
        states, mask = self.states_for_training(batch.captions, generator)
        told = Condition(text=states, text_mask=mask, null_text=states, null_mask=mask)
        clean = self.clean(batch)
        told = self.knowing(told, clean[:, :, :: self.factor])
        return first_known(told, clean, self.most_known, generator)

    def network_input(self, noisy: Latents, time: Times, condition: Condition) -> dict[str, object]:
        keys = condition.beside[KEYS]
        check_num_frames(noisy.shape[2], keys.shape[2], factor=self.factor)
        copies = spread(keys, factor=self.factor).to(noisy)
        return super().network_input(torch.cat([noisy, copies], dim=1), time, condition)

    def reduce(self, error: Tensor, batch: Batch) -> Loss:
        """The mean over all frames; those at the key frames' times count like any other."""
        return Loss(error.mean(), {})

    def fill(
        self,
        condition: Condition,
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
        """Latents of the smooth video, window after window; see `sample_windows`.

        Args:
            condition: With all key frames; see `knowing`.
            window: Key frames told at once, as in training.
            overlap: Key frames in which a window begins, at least 1.
            tiles: Parts of the frame made at once.
            scheduler: The solver, of the same noise law as `process`.
            steps: Network evaluations per tile and window.
            guidance: How predictions with and without text are combined.
            generators: One per sample, so that a sample depends on its seed and not on its batch.
            apart: Whether each branch of guidance has a network call of its own.
            on_step: Called after each step with steps done and in all windows together; raise
                `Cancelled` in it to stop.

        Raises:
            RequestError: Windows share no key frame.
        """
        if overlap < 1:
            raise RequestError(
                f"windows of key frames with an overlap of {overlap} cannot be filled in: those "
                "that share no key frame would leave out the frames between them. Use 1 or more."
            )
        keys = condition.beside[KEYS]
        parts = windows(keys.shape[2], size=window, overlap=overlap)
        yield from self.sample_windows(
            [self._frames_of(part) for part in parts],
            (self.knowing(condition, keys[:, :, part.frames]) for part in parts),
            (keys.shape[1], keys.shape[3], keys.shape[4]),
            tiles=tiles,
            scheduler=scheduler,
            steps=steps,
            guidance=guidance,
            generators=generators,
            apart=apart,
            on_step=on_step,
        )

    def _frames_of(self, part: Window) -> Window:
        """A window of key frames as one of the frames that they span."""
        known = num_frames(part.known, factor=self.factor) if part.known else 0
        stop = self.factor * (part.stop - 1) + 1
        return Window(self.factor * part.start, stop, known)


def num_frames(num_keys: int, *, factor: int) -> int:
    """Frames of the video that K key frames span: factor (K - 1) + 1, so 16 span 61 at 4."""
    return factor * (num_keys - 1) + 1


def shown_keys(num_keys: int, *, factor: int) -> Int[Tensor, " F"]:
    """Which key frame stands in for each frame: the nearest, of two equally near ones the earlier.

    For a factor of 4 frame i is told key frame (i + 1) // 4, as in the released LaVie: the first
    key frame three times, the last twice, all others four times.
    """
    frames = torch.arange(num_frames(num_keys, factor=factor))
    return (frames + (factor - 1) // 2) // factor


def spread(keys: Float[Tensor, "B c K h w"], *, factor: int) -> Float[Tensor, "B c F h w"]:
    """Key frames (B C K h w) at the higher rate: B C factor (K - 1) + 1 h w, by repetition."""
    return keys[:, :, shown_keys(keys.shape[2], factor=factor).to(keys.device)]


def check_num_frames(frames: int, num_keys: int, *, factor: int) -> None:
    """Refuses a video that does not begin with the first and end with the last key frame.

    Raises:
        RequestError: As said.
    """
    wanted = num_frames(num_keys, factor=factor)
    if frames != wanted:
        raise RequestError(
            f"{frames} frames cannot be made of {num_keys} key frames: at {factor} frames from one "
            f"to the next they span {wanted}. Use {wanted} frames, or other key frames."
        )
