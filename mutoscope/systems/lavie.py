"""LaVie: text to video with cascaded latent diffusion (arXiv 2309.15103)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float

from mutoscope.diffusion.denoise import OnStep
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import process_from
from mutoscope.diffusion.reuse import Reuse
from mutoscope.diffusion.tiles import Tiles
from mutoscope.diffusion.windows import Window
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.condition import Condition
from mutoscope.encoding.detail import DetailCodec
from mutoscope.errors import ModelError, RequestError
from mutoscope.stages.beginning import beginning_with
from mutoscope.stages.interpolation import Interpolation
from mutoscope.stages.key_frames import KeyFrames
from mutoscope.stages.super_resolution import LOW_LAW, SuperResolution
from mutoscope.stages.text_stage import TextStage
from mutoscope.systems.cascade import BASE, INTERPOLATE, UPSCALE, Cascade
from mutoscope.systems.cuts import Cut, Cuts
from mutoscope.systems.long import check_clips, clips, encoded
from mutoscope.systems.lora import base_hash, read_lora
from mutoscope.systems.pieces import Piece, Stretches
from mutoscope.systems.system import OnStage, OutputType, Seeds, VideoOutput, in_bytes
from mutoscope.types import Latents, Size, Video
from mutoscope.video.frames import Footage, Frames, in_parts, to_bytes, to_floats


class LaVie(Cascade):
    """A sentence becomes a clip: one network draws key frames, the next what lies between, the last
    enlarges them.

    The first is an image model inflated in time, then trained on images and clips together, so
    that with `num_frames=1` it still draws single pictures. Each is optional: without the first a
    system enlarges or interpolates videos that it is given.

    Source: LaVie (arXiv 2309.15103) §4.1 to §4.3.
    """

    paper = "arXiv:2309.15103"
    model_cpu_offload_seq = (
        "text_encoder->base->interpolator->vae->upscaler_text_encoder->upscaler->upscaler_vae"
    )

    @torch.inference_mode()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | None = None,
        num_frames: int | None = None,
        size: Size | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        noise_level: int | None = None,
        seeds: Seeds = 0,
        stages: Sequence[str] | None = None,
        image: Frames | None = None,
        long: bool = False,
        resume: tuple[str, Latents] | None = None,
        cuts: Cuts | None = None,
        reuse: Reuse | None = None,
        on_step: OnStep | None = None,
        on_stage: OnStage | None = None,
        output_type: OutputType = "uint8",
    ) -> VideoOutput:
        """Makes one video per prompt; what is left out is as the model was trained.

        Args:
            prompt: One sentence or several.
            negative_prompt: What all stages lead away from; None for what suits each.
            num_frames: Frames of the finished video, from 1 (a still) to four times the native
                number; between key frames a last few may be made in vain. More than the native
                number, at once: see `VideoUNet.spacing`.
            size: Frame size of the finished video; both sides multiples of the autoencoder's
                factor, times that of the upscaler's where this runs.
            steps: Of the base, 1 to 1000; more is slower and, up to a point, better.
            guidance_scale: Of the base, 0 and above; 1 follows the prompt as the training data did,
                more follows it more closely at the cost of variety.
            noise_level: Of the upscaler: 0 trusts the small video, more lets it draw more detail of
                its own.
            seeds: The first video's seed, from which the others count up, or one per video.
            stages: The first so many of `stages`; None runs all.
            image: A picture that all videos begin with, uint8 1 H W 3 of any size: its middle is
                cut to the shape of the frames and scaled. Later stages draw it anew like any frame.
            long: Whether key frames are drawn in clips of the native number, each going on from the
                last frame of the one before, so that there may be many more (see `most_frames`);
                else all are drawn at once. What the last clip has too many is left out.
            resume: A stage and the latents it ended with before (see `on_stage`), B C F h w: it and
                those before it do not run, and number and size of frames follow from them; `image`
                and `long` then have had their effect.
            cuts: How much is done at once (see `plan`); None for as much as the networks learned.
            reuse: How the base reuses deep features between steps (those of a draft excepted),
                which saves time and costs quality (see `mutoscope.systems.reuse_curve`); None for
                exact frames.
            on_step: Called as `on_step(done, total, latents)` in each stage; may raise `Cancelled`.
            on_stage: Called with the name and the latents of each stage that has run, but the last,
                upscaling, whose latents are never all there at once.
            output_type: "uint8", "pieces", "pt" or "latent"; see `VideoOutput`. As pieces a long
                video needs hardly more memory than a short one.

        Raises:
            RequestError: Something asked for cannot be made; raised before any work.
        """
        prompts = self.check_prompts(prompt)
        wanted = self.check_stages(stages)
        self._check_draws(wanted)
        codec = LatentCodec(self.vae)
        frames = self._frames(num_frames, wanted, resume, long=long)
        factor = self.config.factor if INTERPOLATE in wanted and frames > 1 else 1
        small = self._small_size(size, wanted, codec)
        level = self.config.noise_level if noise_level is None else noise_level
        guidance = self.guidance(guidance_scale)
        if output_type not in get_args(OutputType):
            raise RequestError(
                f"output_type={output_type!r} is not known: possible are "
                f"{', '.join(get_args(OutputType))}. Use 'uint8' for frames to look at."
            )
        if UPSCALE in wanted and output_type not in ("uint8", "pieces"):
            raise RequestError(
                f"output_type={output_type!r} cannot be had of enlarged videos: their latents are "
                "decoded a few at a time. Use 'uint8' or 'pieces', or leave out the last stage."
            )
        keys = 1 + -(-(frames - 1) // factor)
        parts = self.clips_of(frames, wanted) if long else clips(keys, keys)
        if resume is None:
            check_clips(self.base, frames, len(parts), image)
        self.check_texts(prompts, negative_prompt, wanted)
        if UPSCALE in wanted:
            self.check_noise_level(level)
        cuts = cuts or self.usual_cuts()

        done, latents = ("", None) if resume is None else resume
        if latents is None:
            first = None
            if image is not None:
                with self.at_work("vae"):
                    first = encoded(image, small, codec)
            latents = self._key_frames(
                parts,
                (codec.channels, *codec.latent_size(small)),
                prompts,
                negative_prompt,
                first,
                steps=self.config.steps if steps is None else steps,
                guidance=guidance,
                generators=self.generators(seeds, len(prompts)),
                cut=cuts.stages[BASE],
                on_step=on_step,
                reuse=reuse,
            )[:, :, :keys]
            if on_stage is not None:
                on_stage(BASE, latents)
        if factor > 1 and done != INTERPOLATE:
            asked = prompts, negative_prompt, seeds, cuts, on_step
            latents = self._filled_in(latents, *asked)[:, :, :frames]
            if on_stage is not None:
                on_stage(INTERPOLATE, latents)
        fps = self.native_fps(wanted)
        if UPSCALE not in wanted:
            return self.finish(latents, output_type, fps, cuts.small)
        count, high, wide = latents.shape[2:]
        large = self._enlarged(
            Stretches(self.pieces(latents, cuts.small)),
            (count, codec.spatial_factor * high, codec.spatial_factor * wide),
            prompts,
            negative_prompt,
            level,
            self.generators(seeds, len(prompts), stage=UPSCALE),
            cuts,
            on_step,
        )
        return in_bytes(large, count, output_type, fps)

    def load_lora(self, folder: str | Path) -> "LaVie":
        """Teaches this model the word that `mutoscope personalize` learned; returns the model.

        The change becomes part of the weights: drawing takes no longer, and `save_pretrained`
        writes a model that knows the word.

        Args:
            folder: What `mutoscope personalize` wrote.

        Raises:
            ModelError: It holds no such thing, or was learned for other weights than these.
            RequestError: The weights are not in memory all the time (`load(..., offload=True)`).
        """
        if self.shelf is not None:
            raise RequestError(
                "a model that is kept on disk cannot be taught a word: its weights are read anew "
                "each time. Load it without offload; what save_pretrained then writes knows the "
                "word."
            )
        lora = read_lora(Path(folder))
        found = base_hash(self)
        if lora.base != found:
            raise ModelError(
                f"{folder} was learned for a model with other weights ({lora.base}, {lora.model}); "
                f"these are {found}. Load that model as it was, in fp32 and without another LoRA."
            )
        text = self._text()
        text.add_word(lora.word, lora.vector)
        if lora.like:
            # How things move is decided in much noise, and the word has never seen anything move.
            begun = text.add_stand_in(lora.word, text.mean_of(lora.like))
            self.register_to_config(early_words={**self.config.early_words, lora.word: begun})
        self.base.load_lora_adapter(lora.layers, prefix="unet")
        self.base.fuse_lora(safe_fusing=True)
        self.base.unload_lora()
        if self.config.vocabulary:
            self.register_to_config(vocabulary=[*self.config.vocabulary, lora.word])
        return self

    @torch.inference_mode()
    def interpolate(
        self,
        frames: Footage,
        prompt: str = "",
        *,
        fps: float,
        seed: int = 0,
        cuts: Cuts | None = None,
        on_step: OnStep | None = None,
        output_type: Literal["uint8", "pieces"] = "uint8",
    ) -> VideoOutput:
        """Makes any video smoother: all frames are drawn anew, between the given ones and at them.

        Args:
            frames: uint8 K H W 3, at least two, of any size; what is larger than the native one is
                made in tiles and takes as much longer. They are looked through once.
            prompt: What they show; the model draws better if it is told.
            fps: Their frame rate, Hz; the result has `factor` times that.
            seed: Of the noise.
            cuts: As in `__call__`.
            on_step: As in `__call__`.
            output_type: See `VideoOutput`.

        Raises:
            RequestError: There is nothing between the frames, or this model does not interpolate.
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
        margins = ((0, 0), (0, tall - height), (0, wide - width), (0, 0))
        cuts = cuts or self.usual_cuts()
        with self.at_work("vae"):
            parts = in_parts(frames, cuts.small.frames)
            videos = (to_floats(np.pad(part, margins, mode="edge"))[None] for part in parts)
            keys = torch.cat([codec.encode(video) for video in videos], dim=2)
        latents = self._filled_in(keys, [prompt], None, seed, cuts, on_step)
        smooth = (piece[:, :, :height, :width] for piece in self.pieces(latents, cuts.small))
        return in_bytes(smooth, latents.shape[2], output_type, self.config.factor * fps)

    @torch.inference_mode()
    def upscale(
        self,
        frames: Footage,
        prompt: str = "",
        *,
        fps: float,
        noise_level: int | None = None,
        seed: int = 0,
        cuts: Cuts | None = None,
        on_step: OnStep | None = None,
        output_type: Literal["uint8", "pieces"] = "uint8",
    ) -> VideoOutput:
        """Makes any video larger, in windows of frames and tiles, so memory does not grow with it.

        Args:
            frames: uint8 F H W 3, of any size; they are looked through once, and of a long video a
                few are there at a time.
            prompt: What they show; the model draws better if it is told.
            fps: Their frame rate, Hz, which stays.
            noise_level: As in `__call__`.
            seed: Of the noise.
            cuts: As in `__call__`.
            on_step: As in `__call__`.
            output_type: See `VideoOutput`; "uint8" needs memory for all large frames.

        Raises:
            RequestError: This model does not enlarge.
        """
        if UPSCALE not in self.stages:
            raise RequestError("this model has no network that enlarges. Use one that has.")
        count, height, width, _ = frames.shape
        # The last row and column are repeated until the network can halve the grid.
        step = 2 ** (len(self.upscaler.config.block_out_channels) - 1)
        tall, wide = -(-height // step) * step, -(-width // step) * step
        margins = ((0, 0), (0, tall - height), (0, wide - width), (0, 0))
        level = self.config.noise_level if noise_level is None else noise_level
        self.check_noise_level(level)
        generators = self.generators(seed, 1, stage=UPSCALE)
        cuts = cuts or self.usual_cuts()

        stretches = Stretches(part[None] for part in in_parts(frames, cuts.small.frames))

        def small(part: slice) -> Piece:
            return np.pad(stretches(part)[0], margins, mode="edge")[None]

        asked = [prompt], None, level, generators, cuts, on_step
        times = self.enlargement([UPSCALE])
        large = (
            piece[:, :, : times * height, : times * width]
            for piece in self._enlarged(small, (count, tall, wide), *asked)
        )
        return in_bytes(large, count, output_type, fps)

    def _enlarged(
        self,
        small: Callable[[slice], Piece],
        shape: tuple[int, int, int],
        prompts: list[str],
        negative_prompt: str | None,
        noise_level: int,
        generators: list[torch.Generator],
        cuts: Cuts,
        on_step: OnStep | None,
    ) -> Iterator[Piece]:
        """Large frames of small ones, of which there are so many of such height and width."""
        codec, cut = LatentCodec(self.upscaler_vae), cuts.stages[UPSCALE]
        details = DetailCodec(codec, self.config.upscale_detail)
        stage = self._upscaling()
        _, height, width = shape
        told_last: list[tuple[int, Video]] = []

        def low(part: slice) -> Video:
            clips = [to_floats(clip) for clip in small(part)]
            told_last[:] = [(part.start, torch.stack(clips).to(self.upscaler.device))]
            return told_last[0][1]

        def with_small(windows: Iterator[Latents]) -> Iterator[tuple[Latents, Video]]:
            done, at_once = 0, cuts.large.frames
            for window in windows:
                start, video = told_last[0]
                beside = video[:, :, done - start :][:, :, : window.shape[2]]
                done += window.shape[2]
                yield from zip(window.split(at_once, 2), beside.split(at_once, 2), strict=True)

        with torch.inference_mode():
            told = self._described(stage, UPSCALE, prompts, negative_prompt)
        self.upscaler.set_parts(cut.parts)
        with self.at_work("upscaler", "upscaler_vae"):
            windows = stage.enlarge(
                stage.knowing_in_parts(told, low, shape, noise_level, generators),
                (codec.channels, *shape),
                window=cut.window,
                overlap=self.overlap(UPSCALE, cut.window),
                tiles=cut.tiles or self._tiles(height, width),
                scheduler=self.upscaler_scheduler,
                steps=self.config.upscale_steps,
                guidance=TextGuidance(self.config.upscale_guidance_scale),
                generators=generators,
                apart=cut.apart,
                on_step=on_step,
            )
            parts = with_small(windows)
            while True:
                # Whoever takes the pieces is not to find himself in inference mode.
                with torch.inference_mode():
                    if (part := next(parts, None)) is None:
                        return
                    piece = to_bytes(details.decode(*part, tile=cuts.large.tile))
                yield piece

    def _key_frames(
        self,
        parts: Sequence[Window],
        shape: tuple[int, int, int],
        prompts: list[str],
        negative_prompt: str | None,
        first: Float[torch.Tensor, "_ c 1 h w"] | None,
        *,
        steps: int,
        guidance: TextGuidance,
        generators: list[torch.Generator],
        cut: Cut,
        on_step: OnStep | None,
        reuse: Reuse | None,
    ) -> Float[torch.Tensor, "B c K h w"]:
        """Latents of all key frames, clip by clip; the first is told the first frame of a draft
        where no other is given."""
        stage = KeyFrames(self.base, process_from(self.scheduler), self._text())
        condition = self._described(stage, BASE, prompts, negative_prompt)
        clip = parts[0].stop
        drafted = self.draft_steps(steps, clip) if first is None else 0
        in_all = drafted + steps * len(parts)
        self.base.set_parts(cut.parts)

        def counted(before: int) -> OnStep:
            def count(done: int, total: int, latents: torch.Tensor) -> None:
                if on_step is not None:
                    on_step(before + done, in_all, latents)

            return count

        opening = condition if first is None else beginning_with(condition, first, clip)
        with self.at_work("base"):
            if drafted:
                until: float = self.config.draft_until
                # It decides what the video shows, so all of it is exact.
                draft = stage.sample(
                    condition,
                    (shape[0], clip, *shape[1:]),
                    scheduler=self.scheduler,
                    steps=steps,
                    guidance=guidance,
                    generators=generators,
                    apart=cut.apart,
                    until=until,
                    on_step=counted(0),
                )
                told = beginning_with(condition, draft[:, :, :1], clip)
                opening = replace(told, frames_until=until)
            drawn = stage.sample_windows(
                parts,
                [condition if part.known else opening for part in parts],
                shape,
                tiles=Tiles(height=shape[1], width=shape[2], overlap=0),
                scheduler=self.scheduler,
                steps=steps,
                guidance=guidance,
                generators=generators,
                apart=cut.apart,
                on_step=counted(drafted),
                reuse=reuse,
            )
            return torch.cat(list(drawn), dim=2)

    def _upscaling(self) -> SuperResolution:
        """The last stage."""
        low_law = self.upscaler_low_scheduler
        return SuperResolution(
            self.upscaler,
            process_from(self.upscaler_scheduler),
            self._text(UPSCALE),
            low_process=LOW_LAW if low_law is None else process_from(low_law),
            most_noise=self.config.most_noise,
        )

    def _filled_in(
        self,
        keys: Float[torch.Tensor, "B c K h w"],
        prompts: list[str],
        negative_prompt: str | None,
        seeds: Seeds,
        cuts: Cuts,
        on_step: OnStep | None,
    ) -> Float[torch.Tensor, "B c F h w"]:
        """Latents of all frames that key frames span."""
        cut = cuts.stages[INTERPOLATE]
        stage = Interpolation(
            self.interpolator,
            process_from(self.interpolator_scheduler),
            self._text(),
            factor=self.config.factor,
        )
        told = stage.knowing(self._described(stage, INTERPOLATE, prompts, negative_prompt), keys)
        self.interpolator.set_parts(cut.parts)
        with self.at_work("interpolator"):
            parts = stage.fill(
                told,
                window=cut.window,
                overlap=self.overlap(INTERPOLATE, cut.window),
                tiles=cut.tiles or self._tiles(*keys.shape[-2:]),
                scheduler=self.interpolator_scheduler,
                steps=self.config.interpolation_steps,
                guidance=TextGuidance(self.config.interpolation_guidance_scale),
                generators=self.generators(seeds, len(prompts), stage=INTERPOLATE),
                apart=cut.apart,
                on_step=on_step,
            )
            return torch.cat(list(parts), dim=2)

    def check_texts(
        self, prompts: Sequence[str], negative_prompt: str | None, stages: Sequence[str]
    ) -> None:
        for stage in stages:
            told, negative = self._told(stage, list(prompts), negative_prompt)
            self._text(stage).tokens([*told, negative])

    def check_noise_level(self, level: int) -> None:
        if UPSCALE not in self.stages:
            raise RequestError(
                f"noise level {level} cannot be used: this model does not enlarge. Leave it out."
            )
        self._upscaling().check_noise_level(level)

    def _described(
        self, draws: TextStage, stage: str, prompts: list[str], negative_prompt: str | None
    ) -> Condition:
        """The same, encoded."""
        told, negative = self._told(stage, prompts, negative_prompt)
        own = stage == UPSCALE and self.upscaler_text_encoder is not None
        with self.at_work("upscaler_text_encoder" if own else "text_encoder"):
            if stage != BASE:
                return draws.describe(told, negative=negative)
            early, until = self.config.early_words, self.config.early_words_until
            return draws.describe(told, negative=negative, early=early, early_until=until)
