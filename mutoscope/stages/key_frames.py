"""KeyFrames: a sentence becomes a short clip (LaVie's base model, arXiv 2309.15103 §4.1)."""

import torch
from einops import rearrange
from torch import Generator, Tensor, nn

from mutoscope.diffusion.process import Process
from mutoscope.diffusion.times import TimeDraw
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.text import TextEncoder
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.beginning import GOES_ON, beginnings_to_learn, beside_noise, can_begin
from mutoscope.stages.stage import EVEN_TIMES
from mutoscope.stages.text_stage import TextStage
from mutoscope.types import Batch, Latents, Loss, Spacing, Times


class KeyFrames(TextStage):
    """Text -> image or clip. A batch of stills trains a text-to-image model; clips with M images
    appended to each on the frame axis train both tasks jointly, so that the video model forgets
    nothing that the image model knew.

    Args:
        network: A `VideoUNet`; trained whole. With input channels for it, it is also told the frame
            that a clip begins with, where that is known (see `mutoscope.stages.beginning`).
        process: The noise law.
        text: The text encoder; frozen.
        text_dropout: Share of captions replaced by the empty one, for classifier-free guidance.
        image_weight: The weight alpha of the image loss (the paper gives no value).
        thing_weight: Weight of the error at places that show a thing, if the batch says which
            do; other places have 1. Things are a small part of a frame, and the one that words
            say most about. Anything but 1 also makes the model draw things too gladly, so a run
            that weighs them is followed by one that does not.
        untold: Share of training clips whose first frame a network that can be told it is not told,
            so that it goes on drawing from text alone; in those that `batch.labels["goes_on"]`
            marks it always is. Of no effect with other networks.
        times: How the times of a training batch are drawn.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        text: TextEncoder,
        *,
        text_dropout: float = 0.1,
        image_weight: float = 1.0,
        thing_weight: float = 1.0,
        untold: float = 0.0,
        times: TimeDraw = EVEN_TIMES,
    ) -> None:
        super().__init__(network, process, text, text_dropout=text_dropout, times=times)
        self.image_weight = image_weight
        self.thing_weight = thing_weight
        self.untold = untold

    def clean(self, batch: Batch) -> Latents:
        assert batch.latents is not None
        if batch.image_latents is None:
            return batch.latents
        return torch.cat([batch.latents, batch.image_latents], dim=2)

    def condition_for_training(self, batch: Batch, generator: Generator) -> Condition:
        """States of the captions, some dropped; with images appended, `B (1+M) L D`. A network that
        can be told it learns of first frames."""
        captions = [
            caption
            for clip, images in zip(
                batch.captions, batch.image_captions or [()] * len(batch.captions), strict=True
            )
            for caption in (clip, *images)
        ]
        states, mask = self.states_for_training(captions, generator)
        if batch.image_latents is not None:
            states = rearrange(states, "(b n) l d -> b n l d", b=len(batch.captions))
            mask = rearrange(mask, "(b n) l -> b n l", b=len(batch.captions))
        told = Condition(
            text=states,
            text_mask=mask,
            null_text=states,
            null_mask=mask,
            frame_stride=batch.frame_stride,
            first_frame=batch.first_frame,
        )
        clean = self.clean(batch)
        # Of a still nothing but its first frame would be left to learn.
        if not can_begin(self.network) or clean.shape[2] == 1:
            return told
        free = ~batch.labels.get(GOES_ON, torch.zeros(len(clean), dtype=torch.bool))
        return beginnings_to_learn(told, clean, free, generator, self.untold)

    def network_input(self, noisy: Latents, time: Times, condition: Condition) -> dict[str, object]:
        joint = condition.text.ndim == 4
        num_images = condition.text.shape[1] - 1 if joint else 0
        told = condition.at(time)
        seen = beside_noise(noisy, told, num_images) if can_begin(self.network) else noisy
        return super().network_input(seen, time, condition) | {
            "num_images": num_images,
            "frame_stride": self._spacing(noisy.shape[2] - num_images, condition.frame_stride),
            "first_frame": condition.first_frame,
        }

    def _spacing(self, frames: int, stride: int) -> Spacing:
        """How far the frames of a clip lie apart for the network."""
        if stride != 1 or not isinstance(self.network, VideoUNet):
            return stride
        spacing: Spacing = self.network.spacing(frames)
        return spacing

    def reduce(self, error: Tensor, batch: Batch) -> Loss:
        """`L_V + alpha L_I` (LaVie §4.1, Eq. 4); on stills alone, their mean."""
        error = error * self._weights(batch)
        if batch.image_latents is None:
            return Loss(error.mean(), {})
        images = batch.image_latents.shape[2]
        video, image = error[:, :, :-images].mean(), error[:, :, -images:].mean()
        return Loss(
            video + self.image_weight * image, {"video": video.detach(), "image": image.detach()}
        )

    def _weights(self, batch: Batch) -> Tensor:
        """The weight of each place, B 1 F H W; a single 1 where no place counts for more."""
        names = ("things", "image_things")
        masks = [batch.labels[name] for name in names if name in batch.labels]
        if not masks or self.thing_weight == 1:
            return torch.ones(())
        things = torch.cat(masks, dim=1)[:, None].float()
        return 1 + (self.thing_weight - 1) * things
