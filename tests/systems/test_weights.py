"""Released weights: what is refused, in names, shapes, values and configurations."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mutoscope.errors import ModelError, RequestError
from mutoscope.systems.weights import lavie_network, lavie_weights, network_of_json
from tests.parity import released

State = dict[str, Tensor]
BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"


def rename(state: State, old: str, new: str) -> None:
    for name in list(state):
        state[name.replace(old, new)] = state.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv_in.bias"), r"conv_in\.bias is missing\. Give"),
        (lambda s: s.update(stray=torch.zeros(1)), r"stray is unknown\. Give"),
        (lambda s: s.update({"conv_in.bias": torch.zeros(3)}), r"is \(3,\) and .* be \(32,\)"),
        (lambda s: s.clear(), r"is missing, and \d+ more"),
        (
            lambda s: s.update({f"{BLOCK}.norm_temp.bias": torch.zeros(32)}),
            r"0\.norm_temp\.bias is unknown",
        ),
        (
            lambda s: s.update(
                {"mid_temporal_block.resblocks_3d_t.conv1.weight": torch.zeros(32, 32, 5, 1, 3)}
            ),
            r"conv1\.weight is \(32, 32, 5, 1, 3\) and should be \(32, 32, 5, 1\)",
        ),
        (
            lambda s: s.pop(f"{BLOCK}.attn_temporal.rotary_emb.freqs"),
            r"attn_temporal\.rotary_emb\.freqs is missing",
        ),
        (lambda s: s.pop("temporal_rotary_emb.freqs"), r"temporal_rotary_emb\.freqs is missing"),
        (
            lambda s: s[f"{BLOCK}.attn_temporal.rotary_emb.freqs"].mul_(1.01),
            r"attn_temporal\.rotary_emb\.freqs are not the frequencies of RoPE",
        ),
        (
            lambda s: s["temporal_rotary_emb.freqs"].mul_(1.01),
            r"temporal_rotary_emb\.freqs are not the frequencies of RoPE",
        ),
        (
            lambda s: rename(s, "shift_conv", "shift"),
            r"shift_conv\.bias is missing; .*, and \d+ more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[State], object], message: str
) -> None:
    state = {name: tensor.clone() for name, tensor in released.weights("super_resolution").items()}
    change(state)
    with pytest.raises(ModelError, match=message):
        lavie_weights(state, released.network("super_resolution"))


@pytest.mark.parametrize("name", released.NETWORKS)
@pytest.mark.parametrize("other", released.NETWORKS)
def test_weights_fit_their_own_network_alone(name: str, other: str) -> None:
    network = released.network(other)
    if name == other:
        assert lavie_weights(released.weights(name), network).keys() == network.state_dict().keys()
    else:
        with pytest.raises(ModelError, match=r"and \d+ more\. Give released weights"):
            lavie_weights(released.weights(name), network)


def test_weights_with_rope_are_not_those_of_a_network_without() -> None:
    # Nothing but the stored frequencies tells the two apart: RoPE has no weights.
    network = lavie_network(released.facts("base")["config"], rotary_dim=0)
    with pytest.raises(ModelError, match=r"rotary_emb\.freqs is unknown"):
        lavie_weights(released.weights("base"), network)


def test_weights_in_half_precision_stay_so() -> None:
    state = {name: tensor.half() for name, tensor in released.weights("base").items()}
    renamed = lavie_weights(state, released.network("base"))
    assert {tensor.dtype for tensor in renamed.values()} == {torch.float16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act_fn": "gelu"}, r"act_fn='gelu' cannot be built: .* have 'silu'\. Give"),
        ({"norm_eps": 1e-6}, r"norm_eps=1e-06 cannot be built"),
        ({"use_relative_position": True}, r"use_relative_position=True cannot be built"),
        ({"resnet_time_scale_shift": "scale_shift"}, r"have 'default'"),
        ({"video_condition": True}, r"video_condition=True cannot be built"),
        ({"stray": 1}, r"stray=1 cannot be built: .* no such setting"),
        ({"up_block_types": ["UpBlock3D"] * 2}, r"the levels of down_block_types in reverse"),
        ({"down_temporal_idx": [0]}, r"down_temporal_idx=\[0\] .* \[0, 1\], every level"),
        ({"up_temporal_idx": [1]}, r"up_temporal_idx=\[1\] .* \[0, 1\], every level"),
    ],
)
def test_a_configuration_without_counterpart_is_refused(change, message: str) -> None:
    config = released.facts("super_resolution")["config"]
    with pytest.raises(ModelError, match=message):
        lavie_network(config | change)


def test_a_configuration_that_lacks_a_setting_is_refused() -> None:
    config = released.facts("base")["config"]
    del config["layers_per_block"]
    with pytest.raises(ModelError, match=r"without layers_per_block cannot be built"):
        lavie_network(config)


def test_a_configuration_becomes_our_arguments() -> None:
    base = lavie_network(released.facts("base")["config"], rotary_dim=16).config
    told = {"rotary_dim": 16, "temporal_attention": "before", "self_attention": "frame"}
    told |= {"relative_position_bias": True, "num_noise_levels": None, "temporal_groups": None}
    assert {name: base[name] for name in told} == told

    between = lavie_network(released.facts("interpolation")["config"]).config
    told = {"rotary_dim": 0, "temporal_attention": "after", "self_attention": "sparse-causal"}
    told |= {"relative_position_bias": False, "temporal_convolutions": False, "in_channels": 8}
    assert {name: between[name] for name in told} == told

    larger = lavie_network(released.facts("super_resolution")["config"], temporal_groups=4).config
    told = {"attention_levels": (False, True), "only_cross_attention": [True, False]}
    told |= {"num_noise_levels": 64, "temporal_groups": 4, "linear_projection": True}
    assert {name: larger[name] for name in told} == told

    with pytest.raises(RequestError, match=r"temporal_groups must divide"):
        lavie_network(released.facts("super_resolution")["config"], temporal_groups=5)


def test_a_network_is_built_straight_from_a_file(tmp_path: Path) -> None:
    told = released.facts("super_resolution")
    file = tmp_path / "network.json"
    found = []
    for content in (told, told | {"temporal_group_norm_groups": 4, "rope_dim": 16}, told["config"]):
        file.write_text(json.dumps(content))
        config = network_of_json(file).config
        found.append((config["temporal_groups"], config["rotary_dim"]))
    assert found == [(32, 32), (4, 16), (32, 32)]
    file.write_text("{")
    with pytest.raises(ModelError, match=r"network\.json cannot be loaded"):
        network_of_json(file)
    with pytest.raises(ModelError, match=r"none\.json cannot be loaded"):
        network_of_json(tmp_path / "none.json")
