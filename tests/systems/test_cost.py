"""What work would take is found on the meta device, and found again faster: the same."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mutoscope.nn.video_unet import VideoUNet
from mutoscope.systems import cost
from mutoscope.systems.cost import Cost, cost_of

KIB = torch.float32.itemsize * 256


def tensor(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def view() -> object:
    return tensor(1024).view(32, 32).transpose(0, 1)[4:]


def copy() -> object:
    return tensor(32, 32).transpose(0, 1).reshape(-1)


def in_place() -> object:
    return tensor(1024).add_(1).mul_(2)


def two_results() -> object:
    return torch.topk(tensor(1024), 256)


def product() -> object:
    return tensor(32, 32) @ tensor(32, 32)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (view, Cost(0, 4 * KIB)),
        (copy, Cost(0, 8 * KIB)),
        (in_place, Cost(0, 4 * KIB)),
        (two_results, Cost(0, 4 * KIB + KIB + 2 * KIB)),  # values, and their places in int64
        (product, Cost(2 * 32**3, 12 * KIB)),
    ],
)
def test_it_is_the_same_however_often_it_was_seen(
    work: Callable[[], object], expected: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_KNOWN", {})
    assert [cost_of(work) for _ in range(3)] == [expected] * 3


def test_equal_numbers_of_other_kinds_are_told_apart() -> None:
    bytes_ = torch.empty(4096, dtype=torch.uint8, device="meta")
    assert [cost_of(lambda by=by: bytes_ + by).peak for by in (1, 1.0)] == [4 * KIB, 16 * KIB]


@pytest.mark.slow
def test_a_known_network_costs_what_pytorch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_KNOWN", {})
    with torch.device("meta"):
        network = VideoUNet(
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            attention_levels=(True, True),
            num_attention_heads=2,
            cross_attention_dim=8,
            norm_num_groups=4,
        )

    def work() -> object:
        return network(tensor(2, 4, 3, 8, 12), torch.ones(2, device="meta"), tensor(2, 5, 8))

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        work()
    first, again = cost_of(work), cost_of(work)
    assert first == again
    assert first.flops == counter.get_total_flops() > 0
