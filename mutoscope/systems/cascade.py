"""What a cascade of LaVie's kind is made of, and what can be asked of it before any work."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from diffusers import AutoencoderKL, SchedulerMixin
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from mutoscope.diffusion.denoise import calls_until
from mutoscope.diffusion.guidance import TextGuidance
from mutoscope.diffusion.process import NOISIEST_TIME
from mutoscope.diffusion.tiles import Tiles
from mutoscope.diffusion.windows import Window
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.stages.beginning import can_begin
from mutoscope.stages.interpolation import num_frames as frames_of
from mutoscope.systems.cuts import Cut, Cuts, Decoding
from mutoscope.systems.long import MOST_CLIPS, check_length, clips
from mutoscope.systems.system import System
from mutoscope.types import Latents, Size

BASE, INTERPOLATE, UPSCALE = "base", "interpolate", "upscale"
# Key frames in which a window of the interpolation begins: two tell how things move.
_OVERLAP = 2
_NONE: Mapping[str, str] = MappingProxyType({})
_CPU_PARTS = 4
_DECODED = 8  # small frames that are decoded together


class Cascade(System):
    """Up to three networks, each with what it works with: one draws key frames, the next what lies
    between, the last enlarges them.

    Args:
        text_encoder: Reads the prompts.
        tokenizer: Splits them into the text encoder's tokens.
        vae: Frames to latents and back.
        base: The denoiser of the key frames; None draws nothing from text alone.
        scheduler: The noise law that the denoiser was trained with, and how to undo it.
        interpolator: The denoiser of all frames, told the key frames; None ends with these.
        interpolator_scheduler: Its noise law.
        upscaler: The denoiser of the large video, told the small one; None leaves it small.
        upscaler_vae: Large frames to latents and back; its factor is the enlargement.
        upscaler_scheduler: The upscaler's noise law.
        upscaler_low_scheduler: The noise law of the small video that the upscaler is told; None for
            the one of `SuperResolution`.
        upscaler_text_encoder: Reads the prompts for the upscaler; None for the other.
        upscaler_tokenizer: Splits them into its tokens.
        num_frames: Key frames per clip in training.
        height: Frame height in training, pixels.
        width: Frame width in training, pixels.
        fps: Frame rate of the key frames in training, Hz.
        steps: Sampling steps that suit the base.
        guidance_scale: Strength of guidance that suits the base.
        early_guidance: How many times as far guidance leads the base at first; see `TextGuidance`.
        early_until: The last time at which it does.
        draft_until: The least noisy time of a draft, whose first frame a clip is told down to that
            time; None for no draft. See `draft_steps`.
        factor: Frames from one key frame to the next, in the interpolated video.
        interpolation_steps: Sampling steps that suit the interpolator.
        interpolation_guidance_scale: Strength of guidance that suits it.
        upscale_steps: Sampling steps that suit the upscaler.
        upscale_guidance_scale: Strength of guidance that suits it.
        upscale_num_frames: Frames per clip in its training.
        noise_level: Noise on the small video that suits the upscaler; see `SuperResolution`.
        most_noise: The highest level that it was trained with; None for all that it tells apart.
        upscale_detail: Scale of the latents of what the small video lacks, where the upscaler draws
            only that; None where it draws all, as LaVie's does. See `DetailCodec`.
        upscale_overlap: Finished frames in which its windows begin; 0 if it never learned that.
        negative_prompts: Stage -> what it leads away from where nothing else is asked for; where a
            stage is not named, from the empty prompt.
        suffixes: Stage -> what is added to each prompt that it is told, as in its training.
        smooth_fps: Frame rate of the interpolated video, Hz; None for `factor` times `fps`, at
            which things move as fast as in the key frames.
        padded_text: Whether prompts were filled up to the text encoder's full length in training
            and the filling attended to, as in Stable Diffusion.
        vocabulary: The words of its training captions; empty where these were free text.
        early_words: Taught word -> the token that the base is told in its place in much noise.
        early_words_until: The least noisy time of that.

    Raises:
        RequestError: There is no network, or one without what it works with, or something is
            recorded for a stage of an unknown name, or `draft_until` is no time.
    """

    _optional_components: ClassVar[list[str]] = [
        "text_encoder",
        "tokenizer",
        "vae",
        "base",
        "scheduler",
        "interpolator",
        "interpolator_scheduler",
        "upscaler",
        "upscaler_vae",
        "upscaler_scheduler",
        "upscaler_low_scheduler",
        "upscaler_text_encoder",
        "upscaler_tokenizer",
    ]

    def __init__(
        self,
        text_encoder: CLIPTextModel | None = None,
        tokenizer: PreTrainedTokenizerFast | None = None,
        vae: AutoencoderKL | None = None,
        base: VideoUNet | None = None,
        scheduler: SchedulerMixin | None = None,
        interpolator: VideoUNet | None = None,
        interpolator_scheduler: SchedulerMixin | None = None,
        upscaler: VideoUNet | None = None,
        upscaler_vae: AutoencoderKL | None = None,
        upscaler_scheduler: SchedulerMixin | None = None,
        upscaler_low_scheduler: SchedulerMixin | None = None,
        upscaler_text_encoder: CLIPTextModel | None = None,
        upscaler_tokenizer: PreTrainedTokenizerFast | None = None,
        num_frames: int = 16,
        height: int = 320,
        width: int = 512,
        fps: float = 8.0,
        steps: int = 50,
        guidance_scale: float = 7.5,
        early_guidance: float = 1.0,
        early_until: float = 900.0,
        draft_until: float | None = None,
        factor: int = 4,
        interpolation_steps: int = 50,
        interpolation_guidance_scale: float = 4.0,
        upscale_steps: int = 50,
        upscale_guidance_scale: float = 5.0,
        upscale_num_frames: int = 8,
        noise_level: int = 50,
        most_noise: int | None = None,
        upscale_detail: float | None = None,
        upscale_overlap: int = 2,
        negative_prompts: Mapping[str, str] = _NONE,
        suffixes: Mapping[str, str] = _NONE,
        smooth_fps: float | None = None,
        padded_text: bool = False,
        vocabulary: Sequence[str] = (),
        early_words: Mapping[str, str] = _NONE,
        early_words_until: float = 950.0,
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
            upscaler=upscaler,
            upscaler_vae=upscaler_vae,
            upscaler_scheduler=upscaler_scheduler,
            upscaler_low_scheduler=upscaler_low_scheduler,
            upscaler_text_encoder=upscaler_text_encoder,
            upscaler_tokenizer=upscaler_tokenizer,
        )
        self.register_to_config(
            num_frames=num_frames,
            height=height,
            width=width,
            fps=fps,
            steps=steps,
            guidance_scale=guidance_scale,
            early_guidance=early_guidance,
            early_until=early_until,
            draft_until=draft_until,
            factor=factor,
            interpolation_steps=interpolation_steps,
            interpolation_guidance_scale=interpolation_guidance_scale,
            upscale_steps=upscale_steps,
            upscale_guidance_scale=upscale_guidance_scale,
            upscale_num_frames=upscale_num_frames,
            noise_level=noise_level,
            most_noise=most_noise,
            upscale_detail=upscale_detail,
            upscale_overlap=upscale_overlap,
            negative_prompts=dict(negative_prompts),
            suffixes=dict(suffixes),
            smooth_fps=smooth_fps,
            padded_text=padded_text,
            vocabulary=list(vocabulary),
            early_words=dict(early_words),
            early_words_until=early_words_until,
        )
        self._check_components()

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of its stages, in the order in which they work."""
        there = {BASE: self.base, INTERPOLATE: self.interpolator, UPSCALE: self.upscaler}
        return tuple(name for name, network in there.items() if network is not None)

    def spanned(self, num_keys: int, stages: Sequence[str]) -> int:
        """Frames of the video that the stages make of so many key frames."""
        if INTERPOLATE not in stages:
            return num_keys
        return frames_of(num_keys, factor=self.config.factor)

    def native_fps(self, stages: Sequence[str]) -> float:
        """Frames per second at which what the stages make moves as fast as it was meant to, Hz."""
        fps: float = self.config.fps
        if INTERPOLATE not in stages:
            return fps
        smooth: float | None = self.config.smooth_fps
        return self.config.factor * fps if smooth is None else smooth

    def enlargement(self, stages: Sequence[str]) -> int:
        """How many times as high and wide as the key frames the stages make the video."""
        return LatentCodec(self.upscaler_vae).spatial_factor if UPSCALE in stages else 1

    def guidance(self, scale: float | None = None) -> TextGuidance:
        """How the base is guided: by the scale that is asked for, or by its usual one."""
        config = self.config
        return TextGuidance(
            config.guidance_scale if scale is None else scale,
            early=config.early_guidance,
            early_until=config.early_until,
        )

    def draft_steps(self, steps: int, num_keys: int) -> int:
        """Steps of the draft that precedes so many steps of the base, for so many key frames.

        Where nothing says where a thing is, it is drawn in two places, or jumps from one to the
        other. A draft decides that: in as much noise the clip itself is then told the first frame
        that the draft came to, and below draws that frame like any other. No draft is made of a
        still, nor where the base cannot be told a first frame.

        Source: a picture first, then the video that begins with it: VideoGen (arXiv 2309.00398) §3.
        """
        until = self.config.draft_until
        if until is None or num_keys == 1 or not can_begin(self.base):
            return 0
        return calls_until(self.scheduler, steps, until)

    def usual_cuts(self, device: str | None = None) -> Cuts:
        """As much at once as the networks learned: whole windows, tiles only of larger frames.

        On a CPU attention and feed-forward work in parts, of which more stays in its caches.

        Args:
            device: Where the networks are to work, as torch names it; None for where they do.
        """
        if device is None:
            device = self.device.type if self.shelf is None else self.shelf.device
        parts = _CPU_PARTS if device in ("cpu", "meta") else 1
        keys, at_once = self.config.num_frames, self.config.upscale_num_frames
        stages = {}
        if BASE in self.stages:
            stages[BASE] = Cut(window=keys, tiles=None, parts=parts)
        if INTERPOLATE in self.stages:
            cells = LatentCodec(self.vae).latent_size(self.native_size)
            stages[INTERPOLATE] = Cut(window=keys, tiles=self._tiles(*cells), parts=parts)
        if UPSCALE in self.stages:
            grid = self.native_size.height, self.native_size.width
            stages[UPSCALE] = Cut(window=at_once, tiles=self._tiles(*grid), parts=parts)
        return Cuts(
            stages=stages,
            small=Decoding(frames=_DECODED),
            # Decoding large frames takes most memory, and a window has many.
            large=Decoding(frames=1),
        )

    def overlap(self, stage: str, window: int) -> int:
        """Finished frames in which windows of so many begin; of an interpolation key frames."""
        most: int = self.config.upscale_overlap if stage == UPSCALE else _OVERLAP
        return min(most, window - 1)

    def clips_of(self, num_frames: int, stages: Sequence[str]) -> list[Window]:
        factor = self.config.factor if INTERPOLATE in stages else 1
        return clips(1 + -(-(num_frames - 1) // factor), self.config.num_frames)

    def most_frames(self, stages: Sequence[str]) -> int:
        return self.spanned(1 + MOST_CLIPS * (self.config.num_frames - 1), stages)

    def check_video(
        self, size: Size, num_frames: int, stages: Sequence[str], *, long: bool = False
    ) -> tuple[Size, int]:
        """The size of the key frames, and the frame count, if the stages can make such a video.

        Args:
            size: Of the finished video, pixels.
            num_frames: Of the finished video.
            stages: That make it.
            long: As in `__call__`.

        Raises:
            RequestError: They cannot.
        """
        self._check_draws(stages)
        small = self._small_size(size, stages, LatentCodec(self.vae))
        return small, self._frames(num_frames, stages, None, long=long)

    def _check_draws(self, stages: Sequence[str]) -> None:
        """Refuses stages that need a video to begin with."""
        if BASE not in stages:
            raise RequestError(
                "a prompt alone cannot become a video: this model has no network that draws key "
                f"frames, only those that {' and '.join(stages)}. Give it a video, or use another."
            )

    def _frames(
        self,
        asked: int | None,
        stages: Sequence[str],
        resume: tuple[str, Latents] | None,
        *,
        long: bool,
    ) -> int:
        """Frames of the finished video."""
        if resume is None:
            native = self.native_num_frames(stages)
            wanted = native if asked is None else asked
            if long:
                return check_length(wanted, self.most_frames(stages))
            return self.check_num_frames(wanted, native)
        done, latents = resume
        if done not in stages[: stages.index(UPSCALE) if UPSCALE in stages else None]:
            raise RequestError(
                f"stage {done!r} cannot be gone on from: this call runs {','.join(stages)}. Give "
                "the latents of one of these, but upscale."
            )
        there = latents.shape[2]
        spanned = self.spanned(there, stages) if done == BASE else there
        if asked is not None and not 1 <= asked <= spanned:
            raise RequestError(
                f"num_frames={asked} cannot be made of the {there} frames of {done!r}: they span "
                f"{spanned}. Use {spanned}, or other latents."
            )
        return spanned if asked is None else asked

    def _small_size(self, size: Size | None, stages: Sequence[str], codec: LatentCodec) -> Size:
        """Size of the key frames."""
        times, native = self.enlargement(stages), self.native_size
        largest = Size(times * native.height, times * native.width)
        asked = self.check_size(size or largest, times * codec.spatial_factor, largest)
        return Size(asked.height // times, asked.width // times)

    def _told(
        self, stage: str, prompts: list[str], negative_prompt: str | None
    ) -> tuple[list[str], str]:
        """What a stage is told to show, and to lead away from."""
        suffix = self.config.suffixes.get(stage, "")
        usual: str = self.config.negative_prompts.get(stage, "")
        negative = usual if negative_prompt is None else negative_prompt
        return [prompt + suffix for prompt in prompts], negative

    def _text(self, stage: str = BASE) -> TextEncoder:
        """What reads the prompts of a stage."""
        model, tokenizer = self.text_encoder, self.tokenizer
        if stage == UPSCALE and self.upscaler_text_encoder is not None:
            model, tokenizer = self.upscaler_text_encoder, self.upscaler_tokenizer
        return TextEncoder(model, tokenizer, padded=self.config.padded_text)

    def _tiles(self, height: int, width: int) -> Tiles:
        """Parts of large grids: what was learned and half as much again, a quarter shared."""
        height, width = 3 * height // 2, 3 * width // 2
        return Tiles(height=height, width=width, overlap=min(height, width) // 4)

    def _check_components(self) -> None:
        """Refuses a system of no network, or of one that lacks what it works with."""
        if not self.stages:
            raise RequestError(
                "a system without a network makes nothing. Give base, interpolator or upscaler."
            )
        named = [*self.config.negative_prompts, *self.config.suffixes]
        if unknown := [name for name in named if name not in (BASE, INTERPOLATE, UPSCALE)]:
            raise RequestError(
                f"{unknown[0]!r} is not a stage that could be told anything: stages are {BASE}, "
                f"{INTERPOLATE} and {UPSCALE}. Name one of these."
            )
        until = self.config.draft_until
        if until is not None and not 0 < until < NOISIEST_TIME:
            raise RequestError(
                f"a draft cannot be drawn until time {until:g}: times lie between 0, where all is "
                f"drawn, and {NOISIEST_TIME}, noise. Give one of these, e.g. 800, or None."
            )
        text = ["text_encoder", "tokenizer"]
        own = text if self.upscaler_text_encoder is None else [f"upscaler_{name}" for name in text]
        needed = {
            BASE: ["scheduler", "vae", *text],
            INTERPOLATE: ["interpolator_scheduler", "vae", *text],
            UPSCALE: ["upscaler_scheduler", "upscaler_vae", *own],
        }
        for stage in self.stages:
            if missing := [name for name in needed[stage] if getattr(self, name) is None]:
                raise RequestError(
                    f"stage {stage!r} cannot work without {missing[0]}: it needs "
                    f"{', '.join(needed[stage])}. Give these, or leave out its network."
                )
