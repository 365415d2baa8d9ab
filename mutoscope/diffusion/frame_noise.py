"""FrameNoise: the noise of a whole video, of which only some frames are there at a time."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from einops import rearrange
from torch import Generator

from mutoscope.diffusion.denoise import draw_noise
from mutoscope.types import Latents

# PyTorch's CPU generator makes normal numbers in blocks of so many; of a tensor whose last block
# is not full it makes the last so many anew.
_BLOCK = 16
# Of every so many frames one has its state kept; those after it are drawn again with it.
_EVERY = 8


class FrameNoise:
    """The noise that `draw_noise` gives, of any frames, bit for bit.

    Noise is drawn channel after channel, so that of one frame comes from all over the sequence.
    What is kept is the state of the generator at some frames of each channel (5 kB each), from
    which numbers are drawn again. Generators that are not on the CPU draw all at once, and it is
    held.

    Args:
        shape: Of one sample, C F H W.
        generators: One per sample; they go on as after `draw_noise`.

    Raises:
        RequestError: See `draw_noise`.
    """

    def __init__(self, shape: tuple[int, int, int, int], generators: Sequence[Generator]) -> None:
        self._shape, self._size = shape, prod(shape)
        self._states: list[list[torch.Tensor]] = []
        self._whole: Latents | None = None
        if self._size < _BLOCK or {each.device.type for each in generators} != {"cpu"}:
            self._whole = draw_noise(shape, generators)
            return
        channels, frames, height, width = shape
        # Where a block begins from which the frame can be drawn; a last one that is not full cannot
        # be drawn without the one before.
        last = (self._size // _BLOCK - 1) * _BLOCK
        begins = (
            (channel * frames + frame) * height * width
            for channel in range(channels)
            for frame in range(0, frames, _EVERY)
        )
        self._starts = [min(begin // _BLOCK * _BLOCK, last) for begin in begins]
        for generator in generators:
            self._states.append([])
            for start, stop in pairwise([*self._starts, self._size]):
                self._states[-1].append(generator.get_state())
                torch.randn(stop - start, generator=generator)

    def of(self, frames: slice) -> Latents:
        """Noise of some frames, B C f H W, float32.

        Args:
            frames: Which, of step 1.
        """
        if self._whole is not None:
            return self._whole[:, :, frames]
        channels, count, height, width = self._shape
        first, stop, _ = frames.indices(count)
        stretches = [
            self._drawn(states, channel, first, stop)
            for states in self._states
            for channel in range(channels)
        ]
        return rearrange(
            torch.stack(stretches), "(B C) (f H W) -> B C f H W", C=channels, H=height, W=width
        )

    def _drawn(
        self, states: list[torch.Tensor], channel: int, first: int, stop: int
    ) -> torch.Tensor:
        """The numbers of one channel of frames `first` to `stop`."""
        _, count, height, width = self._shape
        known = channel * -(-count // _EVERY) + first // _EVERY
        begin, end = ((channel * count + frame) * height * width for frame in (first, stop))
        start = self._starts[known]
        length = -(-(end - start) // _BLOCK) * _BLOCK
        if end > self._size - _BLOCK:
            length = self._size - start
        generator = Generator()
        generator.set_state(states[known])
        return torch.randn(length, generator=generator)[begin - start : end - start]
