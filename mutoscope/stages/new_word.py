"""NewWord: KeyFrames that is taught what one word more looks like, from a few pictures."""

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor, nn

from mutoscope.diffusion.process import Process
from mutoscope.diffusion.times import TimeDraw
from mutoscope.encoding.text import TextEncoder
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.types import Batch, Loss, TextMask, TextStates


class NewWord(KeyFrames):
    """Trains on stills: pictures of the new thing, and others that keep what is known.

    Only what wants a gradient is trained: the network's LoRA, and the embedding of the word, which
    is learned through the frozen text encoder. Stills pass by all layers over time, so how things
    move is not forgotten.

    Args:
        network: A `VideoUNet`.
        process: The noise law.
        text: The text encoder.
        others_weight: Weight of the loss on pictures that do not show the new thing.
        times: How the times of a training batch are drawn.

    Source: LaVie (arXiv 2309.15103) §5.6; the word: Textual Inversion (arXiv 2208.01618) §3; the
    others: DreamBooth (arXiv 2208.12242) §3.3, Eq. 2.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        text: TextEncoder,
        *,
        others_weight: float,
        times: TimeDraw,
    ) -> None:
        # No caption is dropped: without words the model shall not draw the new thing.
        super().__init__(network, process, text, text_dropout=0.0, times=times)
        self.others_weight = others_weight

    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.network, "text_encoder": self.text.model}

    def states_for_training(
        self, captions: Sequence[str], generator: Generator
    ) -> tuple[TextStates, TextMask]:
        """States and mask of the captions, through which gradients reach the word."""
        return self.text.encode(captions)

    def reduce(self, error: Tensor, batch: Batch) -> Loss:
        """The mean over the pictures (`batch.labels["own"]`) and the weighted one over others."""
        own = batch.labels["own"]
        shown = error[own].mean()
        if bool(own.all()):
            return Loss(shown, {"own": shown.detach()})
        others = error[~own].mean()
        report = {"own": shown.detach(), "others": others.detach()}
        return Loss(torch.add(shown, others, alpha=self.others_weight), report)
