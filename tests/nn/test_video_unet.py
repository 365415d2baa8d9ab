"""VideoUNet: parity with Stable Diffusion's U-Net, configuration, saving, and what it refuses.

Refusals are tried on the unwrapped functions: the type checks of the test run would object first.
"""

from inspect import unwrap
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from mutoscope.errors import RequestError
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


def tiny(**changes: object) -> VideoUNet:
    """A small network with every weight random, those that start at zero included."""
    network = VideoUNet(**(TINY | changes))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return network.eval()


def inputs(frames: int = 3, size: tuple[int, int] = (5, 7)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "sample": torch.randn(2, 4, frames, *size, generator=generator),
        "timestep": torch.tensor([3.0, 977.5]),
        "encoder_hidden_states": torch.randn(2, 5, 6, generator=generator),
    }


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


@pytest.mark.parametrize("group_norm_over", ["frame", "clip"])
def test_a_gradient_reaches_every_parameter(group_norm_over: str) -> None:
    network = tiny(group_norm_over=group_norm_over, rotary_dim=2)
    network(**inputs()).square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@torch.no_grad()
def test_a_new_network_predicts_zero() -> None:
    assert not VideoUNet(**TINY)(**inputs()).any()


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    network = tiny(rotary_dim=2, group_norm_over="clip", num_attention_heads=(2, 4))
    network.save_pretrained(tmp_path)
    again = VideoUNet.from_pretrained(tmp_path)
    assert torch.equal(again(**inputs()), network(**inputs()))


def test_gradient_checkpointing_changes_no_gradient() -> None:
    network = tiny()
    gradients = []
    for checkpointing in (False, True):
        network.zero_grad()
        if checkpointing:
            network.enable_gradient_checkpointing()
        network(**inputs()).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    assert all(torch.equal(kept, made) for kept, made in zip(*gradients, strict=True))


@pytest.mark.parametrize("group_norm_over", ["frame", "clip"])
@torch.no_grad()
def test_half_precision_follows_single_precision(group_norm_over: str) -> None:
    network = tiny(group_norm_over=group_norm_over)
    told = inputs()
    single = network(**told)
    half = network.to(torch.bfloat16)(
        told["sample"].bfloat16(), told["timestep"], told["encoder_hidden_states"].bfloat16()
    )
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).norm() < 0.05 * single.norm()


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 7), (10, 16)])
@torch.no_grad()
def test_any_size_comes_back_as_it_was(size: tuple[int, int]) -> None:
    network = tiny(block_out_channels=(8, 8, 8), attention_levels=(False, True, True))
    assert network(**inputs(frames=2, size=size)).shape == (2, 4, 2, *size)


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
    ],
)
def test_inputs_that_do_not_fit_are_refused(changes, message) -> None:
    forward = unwrap(VideoUNet.forward)
    with pytest.raises(RequestError, match=message):
        forward(tiny(), **(inputs() | changes))
