"""The parts of blocks that a whole network would hide: the exact gate, the sizes, the start."""

import math
import subprocess
import sys

import pytest
import torch

from mutoscope.nn.blocks import BlockConfig, Downsample, ResnetBlock, Upsample
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import Moment
from mutoscope.nn.transformer import GatedLinear


def test_the_gate_is_the_exact_gelu() -> None:
    gated = GatedLinear(1, 1)
    with torch.no_grad():
        gated.proj.weight.copy_(torch.tensor([[2.0], [1.0]]))
        gated.proj.bias.zero_()
    values = torch.linspace(-4, 4, 33)
    expected = [2 * v * v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in values.tolist()]
    # The tanh approximation of GELU is off by up to 5e-4 here.
    torch.testing.assert_close(
        gated(values[:, None])[:, 0], torch.tensor(expected), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("size", "half"), [((10, 16), (5, 8)), ((5, 8), (3, 4)), ((1, 3), (1, 2))])
def test_sizes_are_halved_upwards_and_given_back(
    size: tuple[int, int], half: tuple[int, int]
) -> None:
    halved = Downsample(2)(torch.zeros(1, 2, *size))
    assert halved.shape[-2:] == half
    assert Upsample(2)(halved, torch.Size(size)).shape[-2:] == size


def test_a_new_residual_block_changes_nothing_where_widths_agree() -> None:
    config = BlockConfig(
        time_width=4,
        text_width=4,
        groups=2,
        group_norm_over="frame",
        self_attention="frame",
        linear_projection=False,
        temporal=False,
        temporal_attention="before",
        rotary_dim=None,
        relative_position_bias=False,
        temporal_convolutions=False,
        temporal_groups=2,
    )
    generator = torch.Generator().manual_seed(0)
    rows, time = torch.randn(6, 4, 3, 3, generator=generator), torch.zeros(2, 4)
    assert torch.equal(ResnetBlock(4, 4, config)(rows, Moment(time), Fold(2, 3)), rows)


@pytest.mark.slow
def test_the_first_layer_that_learns_may_be_a_norm() -> None:
    """In a process of its own: torch's own backward pass would end it (channels last, CPU)."""
    code = """
import torch
from mutoscope.nn.blocks import GroupNorm
from mutoscope.nn.fold import Fold
rows = torch.randn(4, 16, 6, 6).to(memory_format=torch.channels_last)
for over in ("frame", "clip"):
    norm = GroupNorm(8, 16, eps=1e-6, over=over)
    norm(rows, Fold(clips=2, frames=2, images=0)).square().sum().backward()
    assert norm.weight.grad is not None and norm.weight.grad.abs().sum() > 0
    assert rows.grad is None and not rows.requires_grad
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
