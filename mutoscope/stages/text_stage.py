"""TextStage: what the stages that are told a sentence share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Generator, nn

from mutoscope.diffusion.process import Process
from mutoscope.diffusion.times import TimeDraw
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.nn.attention import ReadText
from mutoscope.stages.stage import EVEN_TIMES, Stage
from mutoscope.types import Latents, TextMask, TextStates, Times

_NOTHING: Mapping[str, str] = MappingProxyType({})


class TextStage(Stage):
    """A stage whose network attends to the states of a prompt, with classifier-free guidance.

    Args:
        network: A `VideoUNet`; trained whole.
        process: The noise law.
        text: The text encoder; frozen.
        text_dropout: Share of captions replaced by the empty one, for classifier-free guidance.
        times: How the times of a training batch are drawn.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        text: TextEncoder,
        *,
        text_dropout: float = 0.1,
        times: TimeDraw = EVEN_TIMES,
    ) -> None:
        super().__init__(network, process, times=times)
        self.text = text
        self.text_dropout = text_dropout

    def describe(
        self,
        prompts: list[str],
        *,
        negative: str = "",
        early: Mapping[str, str] = _NOTHING,
        early_until: float = 1000.0,
    ) -> Condition:
        """What the denoiser is told when it samples: prompts, and what guidance leads away from.

        Args:
            prompts: One per sample.
            negative: What guidance leads away from.
            early: Token -> the one that is told in its place in much noise.
            early_until: The least noisy time of that.
        """
        text, text_mask = self.text.encode(prompts)
        null_text, null_mask = self.text.encode([negative] * len(prompts))
        told = Condition(text=text, text_mask=text_mask, null_text=null_text, null_mask=null_mask)
        if not early:
            return told
        early_text, early_mask = self.text.encode(prompts, early)
        return replace(told, early_text=early_text, early_mask=early_mask, early_until=early_until)

    def states_for_training(
        self, captions: Sequence[str], generator: Generator
    ) -> tuple[TextStates, TextMask]:
        """States and mask of the captions, some of which are dropped.

        A dropped caption is encoded as "", which is what guidance leads away from by default.
        """
        dropped = torch.rand(len(captions), generator=generator) < self.text_dropout
        prompts = ["" if drop else text for text, drop in zip(captions, dropped, strict=True)]
        with torch.no_grad():
            return self.text.encode(prompts)

    def read_once(self, condition: Condition) -> Condition:
        """With the keys and values of its text, which no step changes."""
        reads: Callable[[TextStates], ReadText] = self.network.read_text  # type: ignore[assignment]
        early = condition.early_text
        return replace(
            condition,
            text_read=reads(condition.text),
            early_read=None if early is None else reads(early),
        )

    def network_input(self, noisy: Latents, time: Times, condition: Condition) -> dict[str, object]:
        told = condition.at(time)
        return {
            "sample": noisy,
            "timestep": time,
            "encoder_hidden_states": told.text,
            "text_mask": told.text_mask,
            "text_read": told.text_read,
        }


def first_known(condition: Condition, clean: Latents, most: int, generator: Generator) -> Condition:
    """What training tells a stage whose windows begin in the one before.

    Args:
        condition: What it is told else.
        clean: The clips, B C F h w.
        most: Half of the clips begin with 1 to `most` frames that are known, fewer than they have;
            0 for none.
        generator: Of these draws.
    """
    most = min(most, clean.shape[2] - 1)
    if most < 1:
        return condition
    known = torch.randint(1, most + 1, (len(clean), 1), generator=generator)
    known = known * (torch.rand(len(clean), 1, generator=generator) < 0.5)
    first = torch.arange(clean.shape[2]) < known
    return replace(condition, frames=clean, frame_mask=first.to(clean.device))
