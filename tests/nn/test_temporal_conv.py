"""Convolutions over time: the arithmetic, the layout, the start, and who is told what."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from mutoscope.nn.blocks import BlockConfig
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import Moment
from mutoscope.nn.temporal_conv import TemporalConvolution, TemporalModule, TemporalResnetBlock

CLIPS, FRAMES, WIDTH = 2, 5, 8
FOLD = Fold(clips=CLIPS, frames=FRAMES)
CONFIG = BlockConfig(
    time_width=6,
    text_width=4,
    groups=8,
    group_norm_over="frame",
    self_attention="frame",
    linear_projection=True,
    temporal=True,
    temporal_attention="before",
    rotary_dim=None,
    relative_position_bias=False,
    temporal_convolutions=True,
    temporal_groups=2,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rows(count: int = CLIPS * FRAMES) -> Tensor:
    return draw(count, WIDTH, 3, 4).contiguous(memory_format=torch.channels_last)


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return module.eval()


@pytest.mark.parametrize("frames", [3, 5])
@torch.no_grad()
def test_it_is_a_three_dimensional_convolution_and_stays_channels_last(frames: int) -> None:
    convolution = TemporalConvolution(WIDTH, frames)
    given = rows()
    video = rearrange(given, "(B F) C H W -> B C F H W", B=CLIPS)
    weight = convolution.weight[..., None]
    expected = nn.functional.conv3d(video, weight, convolution.bias, padding=(frames // 2, 0, 0))
    made = convolution(given, CLIPS)
    torch.testing.assert_close(
        rearrange(made, "(B F) C H W -> B C F H W", B=CLIPS), expected, atol=1e-5, rtol=0
    )
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_new_blocks_change_nothing_and_can_be_made_to_again() -> None:
    time = draw(CLIPS, 6, seed=2)
    block = TemporalResnetBlock(WIDTH, 2, frames=3)
    module = TemporalModule(WIDTH, CONFIG)
    for _ in range(2):
        assert torch.equal(block(rows(), FOLD), rows())
        assert torch.equal(module(rows(), Moment(time), FOLD), rows())
        for layer in (randomised(block), randomised(module)):
            layer.start_as_identity()


@torch.no_grad()
def test_normalisation_is_over_the_clip_in_as_many_groups_as_are_asked_for() -> None:
    block = randomised(TemporalResnetBlock(WIDTH, 2, frames=3))
    video = rearrange(rows(), "(B F) C H W -> B C F H W", B=CLIPS)
    hidden = video
    for norm, conv in ((block.norm1, block.conv1), (block.norm2, block.conv2)):
        hidden = nn.functional.group_norm(hidden, 2, norm.weight, norm.bias, 1e-6)
        hidden = nn.functional.conv3d(
            nn.functional.silu(hidden), conv.weight[..., None], conv.bias, padding=(1, 0, 0)
        )
    expected = rearrange(video + hidden, "B C F H W -> (B F) C H W")
    torch.testing.assert_close(block(rows(), FOLD), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("part", ["temporal_res_block", "spatial_res_block"])
@torch.no_grad()
def test_both_blocks_of_a_module_are_told_the_time_of_their_clip(part: str) -> None:
    module = randomised(TemporalModule(WIDTH, CONFIG))
    other = {"temporal_res_block": "spatial_res_block", "spatial_res_block": "temporal_res_block"}
    for parameter in module.get_submodule(other[part]).time_emb_proj.parameters():
        nn.init.zeros_(parameter)
    time = draw(CLIPS, 6, seed=2)
    later = time + torch.tensor([[0.0], [1.0]])
    before, after = module(rows(), Moment(time), FOLD), module(rows(), Moment(later), FOLD)
    assert torch.equal(before[:FRAMES], after[:FRAMES])
    assert (before[FRAMES:] != after[FRAMES:]).flatten(1).any(1).all()


@torch.no_grad()
def test_images_and_lone_frames_pass_a_module_by_and_clips_do_not_mix() -> None:
    module = randomised(TemporalModule(WIDTH, CONFIG))
    moment = Moment(draw(CLIPS, 6, seed=2))
    given = rows(CLIPS * (FRAMES + 1))
    joint = module(given, moment, replace(FOLD, images=1))
    clips, images = CLIPS * FRAMES, slice(CLIPS * FRAMES, None)
    assert torch.equal(joint[images], given[images])
    assert torch.equal(joint[:clips], module(given[:clips], moment, FOLD))
    assert not torch.equal(joint[:clips], given[:clips])
    assert torch.equal(module(given[:2], moment, Fold(clips=2, frames=1)), given[:2])
    changed = given[:clips].clone()
    changed[0] += 1
    told = module(changed, moment, FOLD) != joint[:clips]
    assert told[:FRAMES].flatten(1).any(1).all()
    assert not told[FRAMES:].any()


@torch.no_grad()
def test_a_residual_block_reaches_three_frames_each_way() -> None:
    # Kernels of 5 and 3 frames; statistics over the clip would carry further, so they are frozen.
    block = randomised(TemporalResnetBlock(WIDTH, 2, frames=5))
    block.norm1.forward = block.norm2.forward = lambda given, fold: given
    fold = Fold(clips=1, frames=9)
    given = rows(9)
    changed = given.clone()
    changed[4] += 1
    told = (block(changed, fold) != block(given, fold)).flatten(1).any(1)
    assert told.tolist() == [False] + [True] * 7 + [False]
