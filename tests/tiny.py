"""Tiny real components, built from seeds and small enough to run anywhere; no network, no mocks."""

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

from mutoscope.diffusion.process import VariancePreserving
from mutoscope.encoding.text import train_tokenizer
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.first_frame import told_first_frames
from mutoscope.systems.lavie import LaVie

SENTENCE = "a red blue star circle drifts left right over the sea at night"


def tiny_network(*, channels: int, num_noise_levels: int | None = None) -> VideoUNet:
    """A network of random weights that predicts four channels."""
    network = VideoUNet(
        in_channels=channels,
        num_noise_levels=num_noise_levels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        attention_levels=(False, True),
        num_attention_heads=2,
        cross_attention_dim=32,
        norm_num_groups=8,
    )
    # Layers that start as the identity would hide it if text or time had no effect.
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def build_tiny_system(*, cascade: bool = False) -> LaVie:
    """A LaVie of random weights that makes 4 frames of 16x24 pixels in milliseconds; as a cascade,
    13 frames of 32x48."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = train_tokenizer([SENTENCE] * 4, vocabulary_size=400)
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            layers_per_block=1,
            scaling_factor=0.5,
        )
        base = tiny_network(channels=4)
        text_encoder = CLIPTextModel(text).eval()
        interpolator = tiny_network(channels=8) if cascade else None
        upscaler = tiny_network(channels=4 + 3, num_noise_levels=100) if cascade else None
        scheduler = VariancePreserving().scheduler()
        return LaVie(
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            vae=vae.eval(),
            base=base,
            scheduler=scheduler,
            interpolator=interpolator,
            interpolator_scheduler=scheduler if cascade else None,
            upscaler=upscaler,
            upscaler_vae=vae.eval() if cascade else None,
            upscaler_scheduler=scheduler if cascade else None,
            num_frames=4,
            height=16,
            width=24,
            fps=8.0,
            steps=3,
            guidance_scale=2.0,
            interpolation_steps=2,
            upscale_steps=2,
            vocabulary=SENTENCE.split(),
        )


def build_told_system(cascade: LaVie, *, draft_until: float | None = None) -> LaVie:
    """The cascade with a base network that is told the first frame of its clip, and heeds it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        base = told_first_frames(cascade.base).eval()
        torch.nn.init.normal_(base.conv_in.weight.data[:, 4:], std=0.3)
    names = "num_frames height width steps guidance_scale interpolation_steps upscale_steps"
    kept = {name: cascade.config[name] for name in names.split()}
    return LaVie(**cascade.components | {"base": base}, **kept, draft_until=draft_until)
