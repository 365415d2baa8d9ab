"""VideoUNet: parity with Stable Diffusion's U-Net, configuration, saving, and what it refuses.

Refusals are tried on the unwrapped functions: the type checks of the test run would object first.
"""

from functools import partial
from inspect import signature, unwrap
from pathlib import Path
from zlib import crc32

import pytest
import torch
from diffusers import UNet2DConditionModel

from mutoscope.errors import RequestError
from mutoscope.nn.attention import TextAttention
from mutoscope.nn.blocks import ResnetBlock
from mutoscope.nn.clip_attention import ClipAttention
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import frame_cosines
from mutoscope.nn.rope import rotary_angles
from mutoscope.nn.temporal import TemporalAttention
from mutoscope.nn.temporal_conv import TemporalModule
from mutoscope.nn.transformer import Transformer
from mutoscope.nn.video_unet import VideoUNet

TINY = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "attention_levels": (True, False),
    "num_attention_heads": 2,
    "cross_attention_dim": 6,
    "norm_num_groups": 4,
}


# Everything that LaVie's super-resolution network has beyond its base network.
UPSCALER = {
    "only_cross_attention": (True, False),
    "linear_projection": True,
    "num_noise_levels": 5,
    "relative_position_bias": True,
    "temporal_convolutions": True,
    "temporal_groups": 2,
    "rotary_dim": 2,
}
INTERPOLATOR = {
    "self_attention": "sparse-causal",
    "temporal_attention": "after",
    "rotary_dim": 0,
    "group_norm_over": "clip",
}
COMPARED = {"absolute_positions": "learned", "temporal_pattern": "causal", "rotary_dim": 0}
KINDS = pytest.mark.parametrize(
    "kind",
    [{}, INTERPOLATOR, UPSCALER, COMPARED],
    ids=["", "between", "larger", "compared"],
)


def tiny(*, std: float = 0.2, **changes: object) -> VideoUNet:
    """A small network with every weight random, those that start at zero included.

    A weight depends on its name, so that networks share those that both of them have.
    """
    network = VideoUNet(**(TINY | changes))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            generator = torch.Generator().manual_seed(crc32(name.encode()))
            parameter.normal_(std=std, generator=generator)
    return network.eval()


def inputs(
    frames: int = 3, size: tuple[int, int] = (5, 7), *, levels: bool = False
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    told = {
        "sample": torch.randn(2, 4, frames, *size, generator=generator),
        "timestep": torch.tensor([3.0, 977.5]),
        "encoder_hidden_states": torch.randn(2, 5, 6, generator=generator),
    }
    return told | ({"noise_level": torch.tensor([0, 4])} if levels else {})


def inputs_of(network: VideoUNet, **options: object) -> dict[str, torch.Tensor]:
    return inputs(levels=network.config["num_noise_levels"] is not None, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [{}, INTERPOLATOR, UPSCALER, COMPARED, {"temporal_pattern": "clip"}, {"frame_numbers": 3}],
    ids=["", "between", "larger", "compared", "clip", "numbers"],
)
@pytest.mark.parametrize("num_images", [0, 2])
def test_in_parts_it_says_the_same_and_learns_as_before(kind, num_images) -> None:
    network = tiny(**kind)
    told = inputs_of(network, frames=3 + num_images)
    if num_images:
        told["encoder_hidden_states"] = told["encoder_hidden_states"][:, None].repeat(1, 3, 1, 1)
    told["num_images"] = num_images
    with torch.no_grad():
        whole = network(**told)
        for parts in (2, 3, 50):
            network.set_parts(parts)
            torch.testing.assert_close(network(**told), whole, atol=1e-4, rtol=1e-4)
    network(**told).square().mean().backward()
    gradients = {name: each.grad for name, each in network.named_parameters()}
    network.zero_grad()
    network.set_parts(1)
    network(**told).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == (gradients[name] is None)
        assert parameter.grad is None or torch.equal(parameter.grad, gradients[name])


@pytest.mark.parametrize(
    ("widths", "attends", "layers", "heads"),
    [((8, 16, 24), (True, True, False), 1, 4), ((8, 16, 16), (False, True, True), 2, 2)],
)
@torch.no_grad()
def test_the_image_network_is_stable_diffusions(widths, attends, layers, heads) -> None:
    theirs = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        up_block_types=["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        attention_head_dim=heads,
        cross_attention_dim=6,
        norm_num_groups=4,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.normal_(std=0.2, generator=generator)
    ours = VideoUNet(4, 4, widths, layers, attends, heads, 6, 4, temporal=False).eval()
    ours.load_state_dict(theirs.state_dict())
    told = inputs(frames=1, size=(10, 16))
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    expected = theirs(
        told["sample"][:, :, 0],
        told["timestep"],
        told["encoder_hidden_states"],
        encoder_attention_mask=mask,
    ).sample
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(**told, text_mask=mask)[:, :, 0], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_image_upscaler_is_stable_diffusions() -> None:
    theirs = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16, 24),
        layers_per_block=1,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        only_cross_attention=[True, True, False],
        use_linear_projection=True,
        num_class_embeds=5,
        attention_head_dim=2,
        cross_attention_dim=6,
        norm_num_groups=4,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.normal_(std=0.2, generator=generator)
    ours = VideoUNet(
        block_out_channels=(8, 16, 24),
        layers_per_block=1,
        attention_levels=(False, True, True),
        only_cross_attention=(True, True, False),
        linear_projection=True,
        num_noise_levels=5,
        num_attention_heads=2,
        cross_attention_dim=6,
        norm_num_groups=4,
        temporal=False,
    ).eval()
    ours.load_state_dict(theirs.state_dict())
    told = inputs(frames=1, size=(10, 16), levels=True)
    expected = theirs(
        told["sample"][:, :, 0],
        told["timestep"],
        told["encoder_hidden_states"],
        class_labels=told["noise_level"],
    ).sample
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(**told)[:, :, 0], expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("group_norm_over", ["frame", "clip"])
def test_a_gradient_reaches_every_parameter(group_norm_over: str, kind) -> None:
    network = tiny(**({"rotary_dim": 2} | kind | {"group_norm_over": group_norm_over}))
    network(**inputs_of(network)).square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@KINDS
@torch.no_grad()
def test_a_new_network_predicts_zero(kind) -> None:
    network = VideoUNet(**(TINY | kind))
    assert not network(**inputs_of(network)).any()


@KINDS
@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, kind) -> None:
    told = {"rotary_dim": 2, "group_norm_over": "clip", "num_attention_heads": (2, 4)}
    network = tiny(**(told | kind))
    network.save_pretrained(tmp_path)
    again = VideoUNet.from_pretrained(tmp_path)
    assert torch.equal(again(**inputs_of(network)), network(**inputs_of(network)))


@pytest.mark.slow
@KINDS
def test_gradient_checkpointing_changes_no_gradient(kind) -> None:
    network = tiny(**kind)
    gradients = []
    for checkpointing in (False, True):
        network.zero_grad()
        if checkpointing:
            network.enable_gradient_checkpointing()
        network(**inputs_of(network)).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    assert all(torch.equal(kept, made) for kept, made in zip(*gradients, strict=True))


def test_gradient_checkpointing_makes_every_block_again() -> None:
    network = tiny(**UPSCALER)
    network.enable_gradient_checkpointing()
    runs: dict[str, int] = {}
    blocks = (ResnetBlock, Transformer, TemporalModule)
    for name, module in network.named_modules():
        if isinstance(module, blocks) and "temporal_module." not in name:
            runs[name] = 0
            module.register_forward_pre_hook(
                lambda *_, name=name: runs.update({name: runs[name] + 1})
            )
    network(**inputs_of(network)).square().sum().backward()
    assert set(runs.values()) == {2}
    assert sum("temporal_module" in name for name in runs) == 5


@KINDS
@pytest.mark.parametrize("group_norm_over", ["frame", "clip"])
@torch.no_grad()
def test_half_precision_follows_single_precision(group_norm_over: str, kind) -> None:
    network = tiny(**(kind | {"group_norm_over": group_norm_over}))
    told = inputs_of(network)
    single = network(**told)
    halves = ("sample", "encoder_hidden_states")
    half = network.to(torch.bfloat16)(**(told | {name: told[name].bfloat16() for name in halves}))
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).norm() < 0.05 * single.norm()


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 7), (10, 16)])
@torch.no_grad()
def test_any_size_comes_back_as_it_was(size: tuple[int, int], kind) -> None:
    levels = {"block_out_channels": (8, 8, 8), "attention_levels": (False, True, True)}
    network = tiny(**(kind | levels | {"only_cross_attention": False}))
    assert network(**inputs_of(network, frames=2, size=size)).shape == (2, 4, 2, *size)


# What else a network has, and an argument at another value than it has by itself.
CHANGES = [
    ({}, {"in_channels": 5}),
    ({}, {"out_channels": 5}),
    ({}, {"block_out_channels": (8, 24)}),
    ({}, {"layers_per_block": 2}),
    ({}, {"attention_levels": (True, True)}),
    ({}, {"num_attention_heads": 1}),
    ({}, {"cross_attention_dim": 8}),
    ({}, {"norm_num_groups": 2}),
    ({}, {"num_noise_levels": 5}),
    ({}, {"frame_numbers": 4}),
    ({}, {"rotary_dim": 0}),
    ({}, {"rotary_dim": 2}),
    ({}, {"group_norm_over": "clip"}),
    ({}, {"self_attention": "sparse-causal"}),
    ({}, {"temporal_attention": "after"}),
    ({}, {"relative_position_bias": True}),
    ({"rotary_dim": 0}, {"relative_position_bias": True}),
    ({}, {"absolute_positions": "learned"}),
    ({"rotary_dim": 0}, {"absolute_positions": "sinusoidal"}),
    ({}, {"temporal_pattern": "causal"}),
    ({}, {"temporal_pattern": "clip"}),
    ({}, {"temporal_convolutions": True}),
    ({"temporal_convolutions": True}, {"temporal_groups": 2}),
    ({"cross_attention_dim": 8}, {"only_cross_attention": True}),
    ({"num_noise_levels": 5}, {"temporal": False}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("basis", "changes"), CHANGES)
@torch.no_grad()
def test_each_argument_changes_what_is_computed(basis, changes) -> None:
    def answer(**told: object) -> torch.Tensor:
        # Large weights: small ones leave the scores of time attention, hence positions, without
        # effect.
        network = tiny(std=0.6, **told)
        generator = torch.Generator().manual_seed(2)
        width, channels = (network.config[n] for n in ("cross_attention_dim", "in_channels"))
        given = {
            "encoder_hidden_states": torch.randn(2, 5, width, generator=generator),
            "sample": torch.randn(2, channels, 3, 5, 7, generator=generator),
        }
        return network(**(inputs_of(network) | given))

    one, other = answer(**basis), answer(**(basis | changes))
    assert one.shape != other.shape or (one - other).abs().mean() > 1e-3
    assert (one.shape != other.shape) == ("out_channels" in changes)


def test_every_argument_is_tried_at_two_values() -> None:
    # How a projection is stored changes nothing, as the next test has it.
    tried = {name for _, changes in CHANGES for name in changes} | {"linear_projection"}
    assert tried == signature(unwrap(VideoUNet.__init__)).parameters.keys() - {"self"}


def test_full_attention_takes_the_place_of_that_over_time() -> None:
    plain, full = tiny(), tiny(temporal_pattern="clip")
    assert {name: each.shape for name, each in full.state_dict().items()} == {
        name: each.shape for name, each in plain.state_dict().items()
    }
    for network, kind in ((plain, TemporalAttention), (full, ClipAttention)):
        layers = [m for name, m in network.named_modules() if name.endswith("attn_temp")]
        assert layers
        assert {type(layer) for layer in layers} == {kind}


@torch.no_grad()
def test_how_a_projection_is_stored_changes_nothing() -> None:
    convolutions, linear = tiny(), tiny(linear_projection=True)
    for name, parameter in linear.state_dict().items():
        assert torch.equal(parameter, convolutions.state_dict()[name].view_as(parameter))
    assert torch.equal(convolutions(**inputs()), linear(**inputs()))
    shapes = [n.mid_block.attentions[0].proj_in.weight.ndim for n in (convolutions, linear)]
    assert shapes == [4, 2]


@torch.no_grad()
def test_text_in_place_of_space_leaves_places_strangers_but_for_the_middle() -> None:
    network = tiny(only_cross_attention=True)
    kinds = {
        name: type(module).__name__
        for name, module in network.named_modules()
        if name.endswith("attn1")
    }
    assert {kind for name, kind in kinds.items() if "mid_block" not in name} == {"TextAttention"}
    assert [kind for name, kind in kinds.items() if "mid_block" in name] == ["SpaceAttention"]


@torch.no_grad()
def test_each_clip_is_told_its_own_noise_level() -> None:
    network, told = tiny(num_noise_levels=5), inputs(levels=True)
    before = network(**told)
    after = network(**(told | {"noise_level": torch.tensor([0, 3])}))
    assert torch.equal(before[0], after[0])
    assert (before[1] - after[1]).abs().mean() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("kind", [{}, {"rotary_dim": 0, "relative_position_bias": True}])
def test_the_distance_of_frames_is_told_to_attention_over_time(kind: dict[str, object]) -> None:
    network, told = tiny(std=0.6, **kind), inputs(frames=4)
    near, far = (network(**told, frame_stride=stride) for stride in (1, 2))
    assert (near - far).abs().mean() > 1e-4
    # Single images have no place in time, and neither has a clip of one frame.
    texts = told["encoder_hidden_states"][:, None].expand(-1, 3, -1, -1)
    joint = told | {"encoder_hidden_states": texts}
    near, far = (network(**joint, num_images=2, frame_stride=stride) for stride in (1, 2))
    assert torch.equal(near[:, :, 2:], far[:, :, 2:])
    assert not torch.equal(near[:, :, :2], far[:, :, :2])
    alone = inputs(frames=1)
    assert torch.equal(network(**alone), network(**alone, frame_stride=3))


@torch.no_grad()
def test_without_positions_the_distance_of_frames_is_nothing() -> None:
    network, told = tiny(rotary_dim=0), inputs(frames=4)
    assert torch.equal(network(**told), network(**told, frame_stride=2))


@torch.no_grad()
def test_more_frames_of_the_same_time_lie_nearer() -> None:
    """Every second one of them has the place of a frame in the clip of about half as many."""
    network, told = tiny(std=0.6, frame_numbers=4), inputs(frames=7)
    assert [network.spacing(frames) for frames in (2, 4, 7)] == [1, 1, 0.5]
    assert tiny().spacing(7) == 1
    near, far = (network(**told, frame_stride=stride) for stride in (0.5, 1))
    assert (near - far).abs().mean() > 1e-4
    angles = partial(rotary_angles, head_width=8, rotary_dim=8)
    assert torch.equal(angles(7, stride=0.5)[::2], angles(4))
    numbers = partial(frame_cosines, num_frames=4, count=4, device=torch.device("cpu"))
    assert torch.equal(numbers(Fold(1, 7, stride=0.5))[::2], numbers(Fold(1, 4)))


@pytest.mark.parametrize(
    ("kind", "stride"),
    [
        ({}, 0),
        ({}, -1),
        ({}, float("inf")),
        (UPSCALER, 2),
        (UPSCALER, 0.5),
        ({"relative_position_bias": True}, 0.5),
        ({"absolute_positions": "learned"}, 1.5),
    ],
)
def test_a_distance_that_cannot_be_shown_is_refused(kind: dict[str, object], stride: float) -> None:
    network = tiny(**kind)
    with pytest.raises(RequestError, match=f"frame_stride={stride} cannot be shown"):
        network(**inputs_of(network), frame_stride=stride)


@KINDS
@pytest.mark.parametrize("num_images", [0, 1])
@torch.inference_mode()
def test_a_text_that_was_read_once_changes_no_bit(kind, num_images: int) -> None:
    network = tiny(**kind)
    told = inputs_of(network) | {"num_images": num_images}
    if num_images:
        text = told["encoder_hidden_states"]
        told["encoder_hidden_states"] = torch.stack([text, text.flip(-2)], dim=1)
    read = network.read_text(told["encoder_hidden_states"])
    assert set(read) == {each for each in network.modules() if isinstance(each, TextAttention)}
    expected = network(**told)
    other = network.read_text(2 * told["encoder_hidden_states"])
    assert not torch.allclose(network(**told, text_read=other), expected, atol=1e-4)
    for layer in read:
        layer.to_k = layer.to_v = None  # nothing is left to make them anew
    assert torch.equal(network(**told, text_read=read), expected)


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("layers_anew", [1, 2, 3])
@pytest.mark.parametrize("num_images", [0, 1])
@torch.inference_mode()
def test_deep_features_of_the_same_call_change_no_bit(
    kind, layers_anew: int, num_images: int
) -> None:
    """Nothing but the layers above them is computed again."""
    network = tiny(**kind, layers_per_block=2)
    told = inputs_of(network) | {"num_images": num_images}
    if num_images:
        told["encoder_hidden_states"] = torch.stack([told["encoder_hidden_states"]] * 2, dim=1)
    expected = network(**told)
    whole, deep = network(**told, layers_anew=layers_anew)
    assert torch.equal(whole, expected)
    runs: list[torch.nn.Module] = []
    for name, module in network.named_modules():
        if isinstance(module, ResnetBlock) and "temporal_module" not in name:
            module.register_forward_hook(lambda module, *_: runs.append(module))
    again, kept = network(**told, layers_anew=layers_anew, deep=deep)
    assert torch.equal(again, expected)
    assert kept is deep
    up = list(network.up_blocks[-1].resnets[3 - layers_anew :])
    down = list(network.down_blocks[0].resnets[: layers_anew - 1])
    assert runs == down + up
    other, _ = network(**told | {"sample": 2 * told["sample"]}, layers_anew=layers_anew, deep=deep)
    assert not torch.allclose(other, expected, atol=1e-4)  # what lies above is of this call


@torch.no_grad()
def test_padding_tokens_have_no_influence() -> None:
    network, told = tiny(), inputs()
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    other = told["encoder_hidden_states"].clone()
    other[~mask] = 100.0
    assert torch.equal(
        network(**told, text_mask=mask),
        network(**(told | {"encoder_hidden_states": other}), text_mask=mask),
    )
    assert not torch.equal(network(**told, text_mask=mask), network(**told))


@torch.no_grad()
def test_statistics_over_the_clip_tell_each_frame_of_the_others_and_images_nothing() -> None:
    for over, coupled in (("frame", False), ("clip", True)):
        network = tiny(temporal=False, group_norm_over=over)
        told = inputs(frames=4)
        changed = told["sample"].clone()
        changed[:, :, 1] += 1
        text = torch.stack([told["encoder_hidden_states"]] * 2, dim=1)
        told["encoder_hidden_states"] = text
        before = network(**told, num_images=1)
        after = network(**(told | {"sample": changed}), num_images=1)
        same = [torch.equal(before[:, :, f], after[:, :, f]) for f in range(4)]
        assert same == [not coupled, False, not coupled, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_out_channels": (8, 18)}, r"18 channels cannot be normalised in 4 groups"),
        ({"norm_num_groups": 0}, r"8 channels cannot be normalised in 0 groups"),
        ({"num_attention_heads": 3}, r"8 channels cannot be split into 3 heads"),
        ({"num_attention_heads": 0}, r"8 channels cannot be split into 0 heads"),
        ({"num_attention_heads": (2, 3)}, r"16 channels cannot be split into 3 heads"),
        ({"num_attention_heads": (2,)}, r"each level has one entry\. Give 2 entries"),
        ({"attention_levels": (True,) * 3}, r"each level has one entry\. Give 2 entries"),
        ({"block_out_channels": ()}, r"each level has one entry"),
        ({"layers_per_block": 0}, r"layers_per_block=0 leaves levels empty"),
        ({"num_attention_heads": 8}, r"\[1, 2\] channels cannot be turned by RoPE"),
        ({"rotary_dim": 3}, r"rotary_dim=3 is not possible .* from 2 to 4"),
        ({"rotary_dim": 6}, r"rotary_dim=6 is not possible .* from 2 to 4"),
        ({"group_norm_over": "batch"}, r"over a 'frame' or 'clip'"),
        ({"self_attention": "causal"}, r"self_attention='causal' .* 'frame' or 'sparse-causal'"),
        ({"temporal_attention": "in"}, r"temporal_attention='in' .* 'before' or 'after'"),
        ({"only_cross_attention": (True,)}, r"only_cross_attention=\(True,\) .* Give 2 entries"),
        ({"self_attention": "sparse-causal", "temporal": False}, r"Give self_attention='frame'"),
        ({"temporal_pattern": "all"}, r"temporal_pattern='all' .* 'place' or 'causal' or 'clip'"),
        ({"absolute_positions": "rope"}, r"absolute_positions='rope' .* 'none' or 'sinusoidal'"),
        (
            {"temporal_pattern": "clip", "absolute_positions": "learned"},
            r"'clip' is not possible with absolute_positions: .* Leave it out",
        ),
        (
            {"temporal_pattern": "clip", "relative_position_bias": True},
            r"'clip' is not possible with relative_position_bias",
        ),
        ({"temporal_groups": 4}, r"temporal_groups=4 has no effect"),
        (
            {"temporal_groups": 3, "temporal_convolutions": True},
            r"8 channels .* in 3 groups: temporal_groups must divide",
        ),
        ({"temporal_groups": 0, "temporal_convolutions": True}, r"8 channels .* in 0 groups"),
        ({"num_noise_levels": 0}, r"num_noise_levels=0 leaves no level"),
        ({"num_attention_heads": 8, "rotary_dim": 2}, r"\[1, 2\] channels .* or give rotary_dim=0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes, message) -> None:
    construct = unwrap(VideoUNet.__init__)
    with pytest.raises(RequestError, match=message):
        construct(VideoUNet.__new__(VideoUNet), **(TINY | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": torch.zeros(2, 3, 1, 5, 7)}, r"this network takes B 4 F H W"),
        ({"timestep": torch.zeros(3)}, r"Give a tensor of shape \(2,\)"),
        ({"encoder_hidden_states": torch.zeros(2, 5, 7)}, r"each take \(2, 'L', 6\)"),
        ({"encoder_hidden_states": torch.zeros(2, 1, 5, 6)}, r"each take \(2, 'L', 6\)"),
        ({"num_images": 1}, r"each take \(2, 2, 'L', 6\)"),
        ({"num_images": 3}, r"num_images=3 cannot be told apart from 3 frames"),
        ({"num_images": -1}, r"num_images=-1 cannot be told apart"),
        ({"text_mask": torch.ones(2, 4, dtype=torch.bool)}, r"Give a mask of shape \(2, 5\)"),
        ({"text_read": tiny().read_text(torch.zeros(3, 5, 6))}, r"of 3 texts does not fit 2"),
        ({"layers_anew": 3}, r"layers_anew=3 is not possible: .* Use 1 to 2"),
        ({"layers_anew": 0}, r"layers_anew=0 is not possible"),
        ({"deep": torch.zeros(6, 8, 5, 7)}, r"without layers_anew"),
        ({"layers_anew": 1, "deep": torch.zeros(4, 8, 5, 7)}, r"have a row per frame"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(changes, message) -> None:
    forward = unwrap(VideoUNet.forward)
    with pytest.raises(RequestError, match=message):
        forward(tiny(), **(inputs() | changes))


def test_without_rope_heads_may_have_any_width() -> None:
    assert tiny(num_attention_heads=8, rotary_dim=0)(**inputs()).isfinite().all()


@pytest.mark.parametrize(
    ("levels", "given", "message"),
    [
        (5, None, r"no noise_level .* told one of 5 per clip\. Give a tensor"),
        (None, torch.tensor([0, 1]), r"a noise_level .* told none\. Leave it out"),
        (5, torch.tensor([0]), r"Give integers of shape \(2,\)"),
        (5, torch.tensor([0.0, 1.0]), r"torch\.float32 does not fit 2 clips"),
        (5, torch.tensor([0, 5]), r"noise_level from 0 to 5 is not known: .* 0 to 4"),
        (5, torch.tensor([-1, 4]), r"noise_level from -1 to 4 is not known"),
    ],
)
def test_a_noise_level_that_does_not_fit_is_refused(levels, given, message) -> None:
    forward = unwrap(VideoUNet.forward)
    with pytest.raises(RequestError, match=message):
        forward(tiny(num_noise_levels=levels), **inputs(), noise_level=given)
