"""Our networks are the released ones of LaVie: outputs at small size, weights at full size."""

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from mutoscope.nn.relative_bias import RelativePositionBias, relative_buckets
from mutoscope.nn.rope import rotary_angles, rotate
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems.weights import (
    LAVIE_BASE,
    LAVIE_INTERPOLATION,
    LAVIE_SUPER_RESOLUTION,
    lavie_weights,
)
from tests.parity import released

ARGUMENTS = {
    "base": LAVIE_BASE,
    "interpolation": LAVIE_INTERPOLATION,
    "super_resolution": LAVIE_SUPER_RESOLUTION,
}
# Of the released state dicts; the frequencies of RoPE, one tensor that many layers share, counted
# once. Ours computes them.
PARAMETERS = {"base": 909_124_116, "interpolation": 909_131_524, "super_resolution": 691_036_436}
FREQUENCIES = {"base": 16, "interpolation": 0, "super_resolution": 16}


@pytest.mark.parametrize("name", released.NETWORKS)
@torch.no_grad()
def test_outputs_are_those_of_the_released_network(name: str) -> None:
    network = released.network(name)
    network.load_state_dict(lavie_weights(released.weights(name), network))
    expected = released.tensors(name)["out.sample"]
    assert expected.std() > 0.5
    # Between single and double precision the released networks themselves differ by up to 5e-6.
    torch.testing.assert_close(network(**released.inputs(name)), expected, atol=3e-5, rtol=0)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == released.facts(name)["params"] - FREQUENCIES[name]


@pytest.mark.parametrize("name", released.NETWORKS)
def test_at_full_size_every_weight_has_its_place(name: str) -> None:
    speed = 10_000.0 ** (-torch.arange(16) / 16)
    state: dict[str, Tensor] = {
        key: speed if key.endswith("freqs") else torch.empty(shape, device="meta")
        for key, shape in released.full_size(name).items()
    }
    with torch.device("meta"):
        network = VideoUNet(**ARGUMENTS[name])
    renamed = lavie_weights(state, network)
    assert renamed.keys() == network.state_dict().keys()
    network.load_state_dict(renamed, assign=True)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == PARAMETERS[name] - FREQUENCIES[name]
    stored = sum(tensor.numel() for key, tensor in state.items() if not key.endswith("freqs"))
    assert count == stored


def text_encoder(width: int, layers: int, heads: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
        )
    )


def autoencoder(*widths: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        layers_per_block=2,
    )


@pytest.mark.slow
def test_with_autoencoders_and_text_encoders_it_is_what_the_paper_calls_three_billion() -> None:
    with torch.device("meta"):
        parts: list[nn.Module] = [
            *(VideoUNet(**arguments) for arguments in ARGUMENTS.values()),
            autoencoder(128, 256, 512, 512),
            autoencoder(128, 256, 512),
            text_encoder(768, 12, 12),
            text_encoder(1024, 23, 16),
        ]
    count = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert count + sum(FREQUENCIES.values()) == 3_111_720_186


def test_positions_in_time_are_those_of_the_released_attention() -> None:
    given = released.tensors("positions")
    rotated = rotate(given["states"], rotary_angles(16, 40, rotary_dim=32))
    torch.testing.assert_close(rotated, given["rotated"], atol=1e-5, rtol=0)
    assert torch.equal(relative_buckets(61), given["buckets"])
    bias = RelativePositionBias(8)
    bias.load_state_dict({"weight": given["table"]})
    assert torch.equal(bias(16).detach(), given["bias"])
