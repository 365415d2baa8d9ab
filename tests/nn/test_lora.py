"""LoRA: the identity at first, nothing over time, and files that diffusers' own U-Net loads."""

import re

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin

from mutoscope.nn.lora import add_lora, lora_layers
from mutoscope.nn.temporal import is_temporal
from mutoscope.nn.video_unet import VideoUNet
from tests.tiny import tiny_network


def told(frames: int, channels: int = 4, width: int = 32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "sample": torch.randn(2, channels, frames, 8, 12, generator=generator),
        "timestep": torch.tensor([3.0, 977.5]),
        "encoder_hidden_states": torch.randn(2, 5, width, generator=generator),
    }


@torch.no_grad()
def fill(network: torch.nn.Module) -> None:
    """Gives the changes of a network, zero at first, something to change."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if ".lora_B." in name:
            parameter.normal_(std=0.1, generator=generator)


@torch.no_grad()
def test_it_starts_as_the_identity_bit_for_bit() -> None:
    network = tiny_network(channels=4)
    before = network(**told(3))
    add_lora(network, rank=2)
    assert torch.equal(network(**told(3)), before)
    fill(network)
    assert not torch.allclose(network(**told(3)), before, atol=1e-3)


def test_layers_within_frames_are_trained_and_nothing_over_time() -> None:
    network = VideoUNet(
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention_levels=(False, True),
        num_attention_heads=2,
        cross_attention_dim=6,
        norm_num_groups=4,
        temporal_convolutions=True,
    )
    names = [name for name, _ in network.named_modules()]
    blocks = sum(name.endswith("attn1") for name in names)
    residual = [name for name in names if re.search(r"resnets\.\d+\.conv\w+$", name)]
    add_lora(network, rank=2)
    trained = [name for name, each in network.named_parameters() if each.requires_grad]
    assert all(".lora_" in name and not is_temporal(name) for name in trained)
    # Two attentions of four projections, two layers of the feed-forward; each change has two parts.
    assert len(trained) == 2 * ((4 + 4 + 2) * blocks + len(residual))
    assert blocks > 0
    assert len(residual) > 2 * blocks


@torch.no_grad()
def test_diffusers_loads_its_layers_into_the_image_network_and_draws_the_same() -> None:
    theirs = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        attention_head_dim=2,
        cross_attention_dim=6,
        norm_num_groups=4,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.normal_(std=0.2, generator=generator)
    ours = VideoUNet(4, 4, (8, 16), 1, (False, True), 2, 6, 4, temporal=False).eval()
    ours.load_state_dict(theirs.state_dict())
    add_lora(ours, rank=3)
    fill(ours)
    inputs = told(1, width=6)
    sample, time, text = inputs.values()
    untouched = theirs(sample[:, :, 0], time, text).sample

    layers = {f"unet.{name}": tensor for name, tensor in lora_layers(ours).items()}
    state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(layers)
    assert state.keys() == layers.keys()
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, alphas, theirs)

    found = sum(".lora_" in name for name in theirs.state_dict())
    assert found == len(layers)
    drawn = theirs(sample[:, :, 0], time, text).sample
    assert not torch.allclose(drawn, untouched, atol=1e-3)
    torch.testing.assert_close(ours(**inputs)[:, :, 0], drawn, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1, 3])
@torch.no_grad()
def test_fused_it_draws_the_same_and_is_a_plain_network_again(frames: int) -> None:
    taught, plain = tiny_network(channels=4), tiny_network(channels=4)
    plain.load_state_dict(taught.state_dict())
    names = plain.state_dict().keys()
    add_lora(taught, rank=2)
    fill(taught)
    layers = {f"unet.{name}": tensor for name, tensor in lora_layers(taught).items()}
    plain.load_lora_adapter(layers, prefix="unet")
    plain.fuse_lora()
    plain.unload_lora()
    assert plain.state_dict().keys() == names
    inputs = told(frames)
    torch.testing.assert_close(plain(**inputs), taught(**inputs), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_the_text_is_read_as_has_the_changes() -> None:
    network = tiny_network(channels=4)
    before = network.read_text(told(3)["encoder_hidden_states"])
    add_lora(network, rank=2)
    fill(network)
    read = network.read_text(told(3)["encoder_hidden_states"])
    for layer, keys_and_values in read.items():
        for new, old in zip(keys_and_values, before[layer], strict=True):
            assert not torch.allclose(new, old, atol=1e-3)
    assert torch.equal(network(**told(3), text_read=read), network(**told(3)))
