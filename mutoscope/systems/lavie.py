"""LaVie: text to video with cascaded latent diffusion (arXiv 2309.15103)."""

from collections.abc import Sequence
from typing import ClassVar, get_args

import numpy as np
import torch
from diffusers import AutoencoderKL, SchedulerMixin
from jaxtyping import Float
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from mutoscope.diffusion.denoise import OnStep
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import process_from
from mutoscope.diffusion.tiles import Tiles
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.interpolation import Interpolation
from mutoscope.stages.interpolation import num_frames as frames_of
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.systems.system import OnStage, OutputType, Seeds, System, VideoOutput
from mutoscope.types import Latents, Size
from mutoscope.video.frames import Frames, to_floats

BASE, INTERPOLATE = "base", "interpolate"
# Key frames in which a window of the interpolation begins: two tell how things move.
_OVERLAP = 2
_AT_ONCE = 16  # frames that are encoded together


class LaVie(System):
    """A sentence becomes a short clip: one network draws key frames, another what lies between.

    The first is an image model inflated in time, then trained on images and clips together, so
    that with `num_frames=1` it still draws single pictures. The second is optional.

    Source: LaVie (arXiv 2309.15103) §4.1, §4.2.

    Args:
        text_encoder: Reads the prompts.
        tokenizer: Splits them into the text encoder's tokens.
        vae: Frames to latents and back.
        base: The denoiser of the key frames.
        scheduler: The noise law that the denoiser was trained with, and how to undo it.
        interpolator: The denoiser of all frames, told the key frames; None ends with these.
        interpolator_scheduler: Its noise law.
        num_frames: Key frames per clip in training.
        height: Frame height in training, pixels.
        width: Frame width in training, pixels.
        fps: Frame rate of the key frames in training, Hz.
        steps: Sampling steps that suit the base.
        guidance_scale: Strength of guidance that suits the base.
        time_shift: How the base's steps lie in time; see `denoise`.
        factor: Frames from one key frame to the next, in the interpolated video.
        interpolation_steps: Sampling steps that suit the interpolator.
        interpolation_guidance_scale: Strength of guidance that suits it.
        vocabulary: The words of its training captions; empty where these were free text.
    """

    paper = "arXiv:2309.15103"
    model_cpu_offload_seq = "text_encoder->base->interpolator->vae"
    _optional_components: ClassVar[list[str]] = ["interpolator", "interpolator_scheduler"]

    def __init__(
        self,
        text_encoder: CLIPTextModel,
        tokenizer: PreTrainedTokenizerFast,
        vae: AutoencoderKL,
        base: VideoUNet,
        scheduler: SchedulerMixin,
        interpolator: VideoUNet | None = None,
        interpolator_scheduler: SchedulerMixin | None = None,
        num_frames: int = 16,
        height: int = 320,
        width: int = 512,
        fps: float = 8.0,
        steps: int = 50,
        guidance_scale: float = 7.5,
        time_shift: float = 1.0,
        factor: int = 4,
        interpolation_steps: int = 50,
        interpolation_guidance_scale: float = 4.0,
        vocabulary: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.register_modules(
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            vae=vae,
            base=base,
            scheduler=scheduler,
            interpolator=interpolator,
            interpolator_scheduler=interpolator_scheduler,
        )
        self.register_to_config(
            num_frames=num_frames,
            height=height,
            width=width,
            fps=fps,
            steps=steps,
            guidance_scale=guidance_scale,
            time_shift=time_shift,
            factor=factor,
            interpolation_steps=interpolation_steps,
            interpolation_guidance_scale=interpolation_guidance_scale,
            vocabulary=list(vocabulary),
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of its stages, in the order in which they work."""
        return (BASE,) if self.interpolator is None else (BASE, INTERPOLATE)

    def spanned(self, num_keys: int, stages: Sequence[str]) -> int:
        """Frames of the video that the stages make of so many key frames."""
        if INTERPOLATE not in stages:
            return num_keys
        return frames_of(num_keys, factor=self.config.factor)

    def native_fps(self, stages: Sequence[str]) -> float:
        """Frames per second at which what the stages make moves as fast as it was meant to, Hz."""
        fps: float = self.config.fps
        return self.config.factor * fps if INTERPOLATE in stages else fps

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
        stages: Sequence[str] | None = None,
        key_frames: Latents | None = None,
        on_step: OnStep | None = None,
        on_stage: OnStage | None = None,
        output_type: OutputType = "uint8",
    ) -> VideoOutput:
        """Makes one video per prompt; what is left out is as the model was trained.

        Args:
            prompt: One sentence or several.
            negative_prompt: What to lead away from.
            num_frames: Frames of the finished video, from 1 (a still) to four times the native
                number; between key frames a last few may be made in vain.
            size: Frame size; both sides multiples of the autoencoder's factor.
            steps: Of the base, 1 to 1000; more is slower and, up to a point, better.
            guidance_scale: Of the base, 0 and above; 1 follows the prompt as the training data did,
                more follows it more closely at the cost of variety.
            seeds: The first video's seed, from which the others count up, or one per video.
            stages: The first so many of `stages`; None runs all.
            key_frames: Latents that the base drew before (see `on_stage`), B C K h w: it does not
                run, and number and size of frames follow from them.
            on_step: Called as `on_step(done, total, latents)` in each stage; may raise `Cancelled`.
            on_stage: Called with the name and the latents of each stage that has run.
            output_type: "uint8", "pt" or "latent"; see `VideoOutput`.

        Raises:
            RequestError: Something asked for cannot be made; raised before any work.
        """
        codec = LatentCodec(self.vae)
        prompts = self.check_prompts(prompt)
        wanted = self.check_stages(stages)
        frames = self._frames(num_frames, wanted, key_frames)
        factor = self.config.factor if INTERPOLATE in wanted and frames > 1 else 1
        grid = codec.latent_size(self.check_size(size or self.native_size, codec.spatial_factor))
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        if output_type not in get_args(OutputType):
            raise RequestError(
                f"output_type={output_type!r} is not known: possible are "
                f"{', '.join(get_args(OutputType))}. Use 'uint8' for frames to look at."
            )
        text = TextEncoder(self.text_encoder, self.tokenizer)

        if key_frames is None:
            draws = KeyFrames(self.base, process_from(self.scheduler), text)
            key_frames = draws.sample(
                draws.describe(prompts, negative=negative_prompt),
                (codec.channels, 1 + -(-(frames - 1) // factor), *grid),
                scheduler=self.scheduler,
                steps=self.config.steps if steps is None else steps,
                guidance=TextGuidance(scale),
                generators=self.generators(seeds, len(prompts)),
                time_shift=self.config.time_shift,
                on_step=on_step,
            )
            if on_stage is not None:
                on_stage(BASE, key_frames)
        latents = key_frames
        if factor > 1:
            told = text, prompts, negative_prompt
            latents = self._filled_in(key_frames, *told, seeds, on_step)[:, :, :frames]
            if on_stage is not None:
                on_stage(INTERPOLATE, latents)
        return self.finish(latents, output_type, self.native_fps(wanted))

    @torch.inference_mode()
    def interpolate(
        self,
        frames: Frames,
        prompt: str = "",
        *,
        fps: float,
        seed: int = 0,
        on_step: OnStep | None = None,
    ) -> VideoOutput:
        """Makes any video smoother: all frames are drawn anew, between the given ones and at them.

        Args:
            frames: uint8 K H W 3, at least two; of any size up to four times the native one.
            prompt: What they show; the model draws better if it is told.
            fps: Their frame rate, Hz; the result has `factor` times that.
            seed: Of the noise.
            on_step: As in `__call__`.

        Raises:
            RequestError: There is nothing between the frames, they are too large, or this model
                does not interpolate.
        """
        if INTERPOLATE not in self.stages:
            raise RequestError(
                "this model has no network that interpolates, only the base. Use one that has."
            )
        count, height, width, _ = frames.shape
        if count < 2:
            raise RequestError(
                f"a video of {count} frame has nothing between its frames. Give one of 2 or more."
            )
        codec = LatentCodec(self.vae)
        factor = codec.spatial_factor
        # The last row and column are repeated up to the next size that the autoencoder can code.
        tall, wide = -(-height // factor) * factor, -(-width // factor) * factor
        self.check_size(Size(tall, wide), factor)
        margins = ((0, 0), (0, tall - height), (0, wide - width), (0, 0))
        video = to_floats(np.pad(frames, margins, mode="edge"))[None]
        keys = torch.cat([codec.encode(part) for part in video.split(_AT_ONCE, dim=2)], dim=2)
        text = TextEncoder(self.text_encoder, self.tokenizer)
        latents = self._filled_in(keys, text, [prompt], "", seed, on_step)
        return VideoOutput(self.pixels(latents)[:, :, :height, :width], self.config.factor * fps)

    def _filled_in(
        self,
        keys: Float[torch.Tensor, "B c K h w"],
        text: TextEncoder,
        prompts: list[str],
        negative: str,
        seeds: Seeds,
        on_step: OnStep | None,
    ) -> Float[torch.Tensor, "B c F h w"]:
        """Latents of all frames that key frames span."""
        stage = Interpolation(
            self.interpolator,
            process_from(self.interpolator_scheduler),
            text,
            factor=self.config.factor,
        )
        parts = stage.fill(
            stage.knowing(stage.describe(prompts, negative=negative), keys),
            window=self.config.num_frames,
            overlap=_OVERLAP,
            tiles=self._tiles(),
            scheduler=self.interpolator_scheduler,
            steps=self.config.interpolation_steps,
            guidance=TextGuidance(self.config.interpolation_guidance_scale),
            generators=self.generators(seeds, len(prompts), stage=INTERPOLATE),
            on_step=on_step,
        )
        return torch.cat(list(parts), dim=2)

    def _tiles(self) -> Tiles:
        """Parts of large frames: what was learned and half as much again, a quarter shared."""
        height, width = LatentCodec(self.vae).latent_size(self.native_size)
        height, width = 3 * height // 2, 3 * width // 2
        return Tiles(height=height, width=width, overlap=min(height, width) // 4)

    def _frames(self, asked: int | None, stages: Sequence[str], key_frames: Latents | None) -> int:
        """Frames of the finished video."""
        if key_frames is None:
            native = self.native_num_frames(stages)
            return self.check_num_frames(native if asked is None else asked, native)
        keys = key_frames.shape[2]
        spanned = self.spanned(keys, stages)
        if asked is not None and not 1 <= asked <= spanned:
            raise RequestError(
                f"num_frames={asked} cannot be made of {keys} key frames: they span {spanned}. "
                f"Use {spanned}, or other key frames."
            )
        return spanned if asked is None else asked
