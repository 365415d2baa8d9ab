"""KeyFrames: a sentence becomes a short clip (LaVie's base model, arXiv 2309.15103 §4.1)."""

import torch
from einops import rearrange
from torch import Generator, Tensor, nn

from mutoscope.diffusion.process import Process
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.stages.stage import Stage
from mutoscope.types import Batch, Latents, Loss, Times


class KeyFrames(Stage):
    """Text -> image or clip. A batch of stills trains a text-to-image model; clips with M images
    appended to each on the frame axis train both tasks jointly, so that the video model forgets
    nothing that the image model knew.

    Args:
        network: A `VideoUNet`; trained whole.
        process: The noise law.
        text: The text encoder; frozen.
        text_dropout: Share of captions replaced by the empty one, for classifier-free guidance.
        image_weight: The weight alpha of the image loss (the paper gives no value).
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        text: TextEncoder,
        *,
        text_dropout: float = 0.1,
        image_weight: float = 1.0,
    ) -> None:
        super().__init__(network, process)
        self.text = text
        self.text_dropout = text_dropout
        self.image_weight = image_weight

    def describe(self, prompts: list[str], *, negative: str = "") -> Condition:
        """What the denoiser is told when it samples: prompts, and what guidance leads away from."""
        text, text_mask = self.text.encode(prompts)
        null_text, null_mask = self.text.encode([negative] * len(prompts))
        return Condition(text=text, text_mask=text_mask, null_text=null_text, null_mask=null_mask)

    def clean(self, batch: Batch) -> Latents:
        assert batch.latents is not None
        if batch.image_latents is None:
            return batch.latents
        return torch.cat([batch.latents, batch.image_latents], dim=2)

    def condition_for_training(self, batch: Batch, generator: Generator) -> Condition:
        """States of the captions, some dropped; with images appended, `B (1+M) L D`."""
        captions = [
            caption
            for clip, images in zip(
                batch.captions, batch.image_captions or [()] * len(batch.captions), strict=True
            )
            for caption in (clip, *images)
        ]
        dropped = torch.rand(len(captions), generator=generator) < self.text_dropout
        prompts = ["" if drop else text for text, drop in zip(captions, dropped, strict=True)]
        with torch.no_grad():
            states, mask = self.text.encode(prompts)
        if batch.image_latents is not None:
            states = rearrange(states, "(b n) l d -> b n l d", b=len(batch.captions))
            mask = rearrange(mask, "(b n) l -> b n l", b=len(batch.captions))
        return Condition(text=states, text_mask=mask, null_text=states, null_mask=mask)

    def network_input(self, noisy: Latents, time: Times, condition: Condition) -> dict[str, object]:
        joint = condition.text.ndim == 4
        return {
            "sample": noisy,
            "timestep": time,
            "encoder_hidden_states": condition.text,
            "text_mask": condition.text_mask,
            "num_images": condition.text.shape[1] - 1 if joint else 0,
        }

    def reduce(self, error: Tensor, batch: Batch) -> Loss:
        """`L_V + alpha L_I` (LaVie §4.1, Eq. 4); on stills alone, their mean."""
        if batch.image_latents is None:
            return Loss(error.mean(), {})
        images = batch.image_latents.shape[2]
        video, image = error[:, :, :-images].mean(), error[:, :, -images:].mean()
        return Loss(
            video + self.image_weight * image, {"video": video.detach(), "image": image.detach()}
        )
