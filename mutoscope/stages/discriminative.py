"""Discriminative: a base model learns to tell true clips from those that it drew itself."""

import torch
from torch import Generator, nn
from torch.nn.functional import softplus

from mutoscope.diffusion.process import Process
from mutoscope.diffusion.times import TimeDraw
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.stages.stage import EVEN_TIMES
from mutoscope.types import Batch, Latents, Loss, Times

OWN = "own"
"""Name of the label (B c F h w) that holds a clip drawn by the model under each caption."""


class Discriminative(KeyFrames):
    """Trains a base model against clips that it drew itself, with its own errors as the judge.

    A small model that learns to predict spreads over all that it has seen and what lies between:
    things that split, jump or fade. Here the error of the model as it was, which stays, less that
    of the model now is the logit of a discriminator of true clips, for this is the logarithm of the
    ratio of likelihoods, as far as one time tells it. So the model learns to predict true clips
    better, and to predict worse what it drew and what is never true.

    Of first frames it is told nothing here, even if it can be.

    Args:
        network: A `VideoUNet`; trained whole.
        before: What drew the clips under `batch.labels["own"]`; frozen.
        process: The noise law.
        text: The text encoder; frozen.
        sharpness: beta, above 0: what an error counts as a logit.
        own_weight: alpha, 0 or more: the weight of clips that the model drew.
        text_dropout: Share of pairs whose caption is replaced by the empty one.
        times: How the times of a training batch are drawn; a pair has one time and one noise.

    Source: Zheng et al., "Direct Discriminative Optimization", arXiv 2503.01103, §3.
    """

    def __init__(
        self,
        network: nn.Module,
        before: nn.Module,
        process: Process,
        text: TextEncoder,
        *,
        sharpness: float = 500.0,
        own_weight: float = 1.0,
        text_dropout: float = 0.1,
        times: TimeDraw = EVEN_TIMES,
    ) -> None:
        super().__init__(network, process, text, text_dropout=text_dropout, untold=1.0, times=times)
        self.before = KeyFrames(before.eval().requires_grad_(False), process, text)
        self.sharpness = sharpness
        self.own_weight = own_weight

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        """softplus(beta d(true)) + alpha softplus(-beta d(own)), where d is the error now less the
        error before; 2 log 2 at first, if alpha is 1."""
        true = self.clean(batch)
        condition = self.condition_for_training(batch, generator)
        noise = torch.randn(true.shape, generator=generator).to(true)
        time = self.times.draw(len(true), generator).to(true.device)
        clean = torch.cat([true, batch.labels[OWN].to(true)])
        # One noise, time and caption for both, so that only what they show makes a difference.
        asked = clean, noise.repeat(2, 1, 1, 1, 1), time.repeat(2), condition.stack([condition] * 2)
        with torch.no_grad():
            error_before = _errors(self.before, *asked)
        of_true, of_own = (_errors(self, *asked) - error_before).chunk(2)
        told = softplus(self.sharpness * of_true)
        told = told + self.own_weight * softplus(-self.sharpness * of_own)
        report = {
            "true": of_true.detach().mean(),
            "own": of_own.detach().mean(),
            "told_apart": (of_true < of_own).float().mean(),
        }
        return Loss(told.mean(), report)


def _errors(
    stage: KeyFrames, clean: Latents, noise: Latents, time: Times, condition: Condition
) -> Times:
    """The mean squared error of each sample."""
    noisy = stage.process.add_noise(clean, noise, time)
    error = stage.predict(noisy, time, condition) - stage.process.target(clean, noise, time)
    return error.float().square().mean(dim=(1, 2, 3, 4))
