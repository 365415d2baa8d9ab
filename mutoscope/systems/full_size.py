"""LaVie as its authors released it, without weights: it can be planned before it is there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
)
from tokenizers import Tokenizer, models
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.cascade import INTERPOLATE, UPSCALE
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.weights import LAVIE_BASE, LAVIE_INTERPOLATION, LAVIE_SUPER_RESOLUTION

# What LaVie's authors sample with, where it is not the default of `LaVie`, and what the networks
# never learned: more noise on the small video, and windows that begin with finished frames.
LAVIE_SAMPLING: Mapping[str, Any] = MappingProxyType(
    {
        "negative_prompts": {INTERPOLATE: "None", UPSCALE: "blur, worst quality"},
        "suffixes": {INTERPOLATE: ", 4k."},
        "smooth_fps": 24.0,
        "most_noise": 350,
        "upscale_overlap": 0,
    }
)
_LAW = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}


def lavie_schedulers() -> dict[str, SchedulerMixin]:
    """What LaVie's authors sample with, by component name: DDPM for key frames, DDIM for the rest.

    The steps of the interpolation stop at times that no solver of diffusers stops at; Euler steps
    of the same grid, not rounded to whole times, are DDIM.

    Source: github.com/Vchitect/LaVie, commit 6ce851e.
    """
    return {
        "scheduler": DDPMScheduler(
            **_LAW, clip_sample=False, timestep_spacing="leading", steps_offset=0
        ),
        "interpolator_scheduler": EulerDiscreteScheduler(**_LAW, timestep_spacing="linspace"),
        "upscaler_scheduler": DDIMScheduler(
            **_LAW,
            prediction_type="v_prediction",
            clip_sample=False,
            set_alpha_to_one=False,
            timestep_spacing="leading",
            steps_offset=1,
        ),
    }


def lavie_at_full_size() -> LaVie:
    """The whole cascade, 3.11 billion parameters with text encoders and autoencoders, on the meta
    device; its tokenizers know no words.

    Source: the configurations of Stable Diffusion 1.4, of its x4 upscaler, and of the three
    networks that LaVie's authors released (github.com/Vchitect/LaVie, commit 6ce851e).
    """
    wordless = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    schedulers = lavie_schedulers()
    with init_empty_weights(include_buffers=True):
        system: LaVie = LaVie(
            text_encoder=_text_encoder(width=768, layers=12, heads=12, activation="quick_gelu"),
            tokenizer=wordless,
            vae=_autoencoder((128, 256, 512, 512), scaling_factor=0.18215),
            base=VideoUNet(**LAVIE_BASE),
            interpolator=VideoUNet(**LAVIE_INTERPOLATION),
            upscaler=VideoUNet(**LAVIE_SUPER_RESOLUTION),
            upscaler_vae=_autoencoder((128, 256, 512), scaling_factor=0.08333),
            upscaler_text_encoder=_text_encoder(width=1024, layers=23, heads=16, activation="gelu"),
            upscaler_tokenizer=wordless,
            **schedulers,
            **LAVIE_SAMPLING,
            padded_text=True,
        )
    return system


def _text_encoder(*, width: int, layers: int, heads: int, activation: str) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            hidden_act=activation,
        )
    )


def _autoencoder(widths: tuple[int, ...], *, scaling_factor: float) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=scaling_factor,
    )
