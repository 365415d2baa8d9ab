"""A widened network starts as the one it is made of, can learn what is beside the sample, and goes
back to what it is without that."""

import pytest
import torch
from torch import Tensor

from mutoscope.errors import RequestError
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.nn.widen import narrow, widen


def network(channels: int = 4, width: int = 8) -> VideoUNet:
    """A network whose every weight is random, time layers included."""
    made = VideoUNet(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(width, 2 * width),
        layers_per_block=1,
        attention_levels=(False, True),
        num_attention_heads=2,
        cross_attention_dim=6,
        norm_num_groups=4,
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return made.eval()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


TIME, TEXT = torch.tensor([12.0, 900.0]), draw(2, 5, 6, seed=1)


@pytest.mark.parametrize(("channels", "width"), [(4, 8), (16, 64)])
@pytest.mark.parametrize("channels_last", [False, True])
@torch.no_grad()
def test_at_step_0_it_gives_exactly_what_the_base_gives(
    channels: int, width: int, channels_last: bool
) -> None:
    base = network(channels, width)
    wide = widen(base, in_channels=2 * channels)
    if channels_last:
        base.to(memory_format=torch.channels_last)
        wide.to(memory_format=torch.channels_last)
    sample = draw(2, channels, 3, 6, 8)
    for scale in (0.0, 1.0, 100.0):
        both = torch.cat([sample, scale * draw(2, channels, 3, 6, 8, seed=2)], dim=1)
        assert torch.equal(wide(both, TIME, TEXT), base(sample, TIME, TEXT))


def test_the_new_channels_have_a_gradient_from_the_start() -> None:
    wide = widen(network(), in_channels=8)
    wide(draw(2, 8, 3, 6, 8), TIME, TEXT).square().mean().backward()
    gradient = wide.conv_in.weight.grad
    assert gradient is not None
    assert gradient[:, 4:].abs().amax() > 0


def test_the_base_stays_as_it_is_and_shares_nothing() -> None:
    base = network()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    wide = widen(base, in_channels=8)
    assert wide.config["in_channels"] == 8
    assert wide.config["out_channels"] == base.config["in_channels"] == 4
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in base.state_dict().items())


def test_precision_is_kept() -> None:
    assert widen(network().to(torch.bfloat16), in_channels=8).dtype == torch.bfloat16


def test_channels_cannot_be_taken_away() -> None:
    with pytest.raises(RequestError, match="4 input channels cannot be widened to 3"):
        widen(network(), in_channels=3)


@torch.no_grad()
def test_a_narrowed_network_gives_what_the_wide_one_gives_where_nothing_is_beside() -> None:
    wide = network(8)
    before = wide.conv_in.weight.clone()
    narrowed = narrow(wide, in_channels=4)
    assert narrowed.config["in_channels"] == 4
    sample = draw(2, 4, 3, 6, 8)
    alone, told = (torch.cat([sample, scale * draw(2, 4, 3, 6, 8, seed=2)], 1) for scale in (0, 1))
    torch.testing.assert_close(narrowed(sample, TIME, TEXT), wide(alone, TIME, TEXT))
    assert (wide(told, TIME, TEXT) - wide(alone, TIME, TEXT)).abs().max() > 0.1
    narrowed.conv_in.weight.zero_()
    assert torch.equal(wide.conv_in.weight, before)


def test_narrowing_gives_back_what_was_widened_and_cannot_add_channels() -> None:
    base = network()
    again = narrow(widen(base, in_channels=9), in_channels=4).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in base.state_dict().items())
    with pytest.raises(RequestError, match="4 input channels cannot be narrowed to 5"):
        narrow(base, in_channels=5)
