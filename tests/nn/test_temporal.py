"""Which weights are temporal, and what `inflate` refuses."""

import pytest
import torch

from mutoscope.errors import ModelError
from mutoscope.nn.temporal import TemporalAttention, inflate, is_temporal
from mutoscope.nn.video_unet import VideoUNet

EVERYTHING = {"relative_position_bias": True, "temporal_convolutions": True}


def network(*, temporal: bool, width: int = 8, **arguments: object) -> VideoUNet:
    return VideoUNet(
        in_channels=2,
        out_channels=2,
        block_out_channels=(width,),
        layers_per_block=1,
        attention_levels=(True,),
        num_attention_heads=2,
        cross_attention_dim=4,
        norm_num_groups=4,
        temporal=temporal,
        **arguments,
    )


@pytest.mark.parametrize("arguments", [{}, EVERYTHING])
def test_the_time_layers_are_what_a_video_network_has_and_an_image_network_lacks(arguments) -> None:
    image, video = (
        network(temporal=temporal, **arguments).state_dict() for temporal in (False, True)
    )
    extra = video.keys() - image.keys()
    assert image.keys() < video.keys()
    assert extra == {name for name in video if is_temporal(name)}
    assert not is_temporal("blocks.0.my_attn_temp_like.weight")


def test_a_time_layer_starts_as_zero_whatever_it_is_given() -> None:
    layer = TemporalAttention(8, num_heads=2, rotary_dim=4)
    tokens = torch.randn(6, 3, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(tokens, num_clips=2), torch.zeros(6, 3, 8))
    assert layer.to_q.weight.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv_in.bias"), r"conv_in\.bias is missing\. Give"),
        (lambda state: state.update(stray=torch.zeros(1)), r"stray is unknown\. Give"),
        (lambda state: state.update({"conv_in.bias": torch.zeros(3)}), r"is \(3,\) .* be \(8,\)"),
        (lambda state: state.clear(), r"is missing, and \d+ more"),
    ],
)
def test_inflating_from_other_weights_is_refused(change, message) -> None:
    state = network(temporal=False).state_dict()
    change(state)
    video = network(temporal=True)
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    with pytest.raises(ModelError, match=message):
        inflate(state, video)
    assert all(torch.equal(before[name], tensor) for name, tensor in video.state_dict().items())


def test_a_video_network_is_no_image_network() -> None:
    with pytest.raises(ModelError, match=r"attn_temp\.\S+ is unknown"):
        inflate(network(temporal=True).state_dict(), network(temporal=True))
