"""LaVie: text to video with cascaded latent diffusion (arXiv 2309.15103); so far its base model."""

from collections.abc import Sequence
from typing import get_args

import torch
from diffusers import AutoencoderKL, SchedulerMixin
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from mutoscope.diffusion.denoise import OnStep
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import process_from
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.system import OutputType, Seeds, System, VideoOutput
from mutoscope.types import Size


class LaVie(System):
    """A sentence becomes a short clip: one network that draws pictures and moves them.

    The network is an image model inflated in time, then trained on images and clips together, so
    that with `num_frames=1` it still draws single pictures.

    Source: LaVie (arXiv 2309.15103) §4.1.

    Args:
        text_encoder: Reads the prompts.
        tokenizer: Splits them into the text encoder's tokens.
        vae: Frames to latents and back.
        base: The denoiser.
        scheduler: The noise law that the denoiser was trained with, and how to undo it.
        num_frames: Frames per clip in training.
        height: Frame height in training, pixels.
        width: Frame width in training, pixels.
        fps: Frame rate in training, Hz.
        steps: Sampling steps that suit the model.
        guidance_scale: Strength of guidance that suits the model.
        vocabulary: The words of its training captions; empty where these were free text.
    """

    paper = "arXiv:2309.15103"
    model_cpu_offload_seq = "text_encoder->base->vae"

    def __init__(
        self,
        text_encoder: CLIPTextModel,
        tokenizer: PreTrainedTokenizerFast,
        vae: AutoencoderKL,
        base: VideoUNet,
        scheduler: SchedulerMixin,
        num_frames: int = 16,
        height: int = 320,
        width: int = 512,
        fps: float = 8.0,
        steps: int = 50,
        guidance_scale: float = 7.5,
        vocabulary: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.register_modules(
            text_encoder=text_encoder, tokenizer=tokenizer, vae=vae, base=base, scheduler=scheduler
        )
        self.register_to_config(
            num_frames=num_frames,
            height=height,
            width=width,
            fps=fps,
            steps=steps,
            guidance_scale=guidance_scale,
            vocabulary=list(vocabulary),
        )

    @torch.inference_mode()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str = "",
        num_frames: int | None = None,
        size: Size | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        seeds: Seeds = 0,
        on_step: OnStep | None = None,
        output_type: OutputType = "uint8",
    ) -> VideoOutput:
        """Makes one video per prompt; what is left out is as the model was trained.

        Args:
            prompt: One sentence or several.
            negative_prompt: What to lead away from.
            num_frames: 1 (a still) to four times the native number.
            size: Frame size; both sides multiples of the autoencoder's factor.
            steps: 1 to 1000; more is slower and, up to a point, better.
            guidance_scale: 0 and above; 1 follows the prompt as the training data did, more
                follows it more closely at the cost of variety.
            seeds: The first video's seed, from which the others count up, or one per video.
            on_step: Called as `on_step(done, total, latents)`; may raise `Cancelled`.
            output_type: "uint8", "pt" or "latent"; see `VideoOutput`.

        Raises:
            RequestError: Something asked for cannot be made; raised before any work.
        """
        codec = LatentCodec(self.vae)
        prompts = self.check_prompts(prompt)
        frames = self.check_num_frames(self.config.num_frames if num_frames is None else num_frames)
        grid = codec.latent_size(self.check_size(size or self.native_size, codec.spatial_factor))
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        if output_type not in get_args(OutputType):
            raise RequestError(
                f"output_type={output_type!r} is not known: possible are "
                f"{', '.join(get_args(OutputType))}. Use 'uint8' for frames to look at."
            )

        text = TextEncoder(self.text_encoder, self.tokenizer)
        key_frames = KeyFrames(self.base, process_from(self.scheduler), text)
        latents = key_frames.sample(
            key_frames.describe(prompts, negative=negative_prompt),
            (codec.channels, frames, *grid),
            scheduler=self.scheduler,
            steps=self.config.steps if steps is None else steps,
            guidance=TextGuidance(scale),
            generators=self.generators(seeds, len(prompts)),
            on_step=on_step,
        )
        return self.finish(latents, codec, output_type)
