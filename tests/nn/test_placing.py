"""Numbers of frames and places: what is told, to whom, and what it lets a network say."""

import pytest
import torch
from torch import Tensor, nn

from mutoscope.errors import RequestError
from mutoscope.nn.attention import FoldedText
from mutoscope.nn.fold import Fold
from mutoscope.nn.placing import (
    FrameCode,
    FrameScale,
    Moment,
    PlaceCode,
    cosines,
    frame_cosines,
)
from mutoscope.nn.video_unet import VideoUNet

CPU = torch.device("cpu")
TINY: dict[str, object] = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "attention_levels": (True, True),
    "num_attention_heads": 2,
    "cross_attention_dim": 6,
    "norm_num_groups": 4,
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return module.eval()


def test_cosines_are_an_even_basis() -> None:
    share = (torch.arange(16) + 0.5) / 16
    waves = cosines(share, 16)
    torch.testing.assert_close(waves.T @ waves / 16, torch.eye(16), atol=1e-5, rtol=0)


def test_a_sparse_clip_is_told_the_numbers_its_frames_have_in_the_whole() -> None:
    whole = frame_cosines(Fold(1, 16), 16, 8, device=CPU)
    sparse = frame_cosines(Fold(1, 4, stride=4, first=2), 16, 8, device=CPU)
    assert torch.equal(sparse, whole[2::4])


def test_a_longer_clip_is_squeezed_into_the_numbers_that_are_known() -> None:
    half_turns = frame_cosines(Fold(1, 32), 16, 2, device=CPU)[:, 1]
    ends = frame_cosines(Fold(1, 16), 16, 2, device=CPU)[:, 1]
    assert half_turns.diff().max() < 0  # one half turn, no matter how long
    assert half_turns[0] > ends[0]
    assert half_turns[-1] < ends[-1]


@torch.no_grad()
def test_padding_of_a_caption_is_not_summed_up() -> None:
    embed = randomised(FrameCode(6, 8, 4))
    states, mask = draw(2, 5, 6), torch.arange(5) < torch.tensor([[3], [5]])
    other = states.clone()
    other[~mask] = 100.0
    fold, time = Fold(2, 4), torch.tensor([3.0, 900.0])
    told = [embed(time, FoldedText.of(each, mask), fold) for each in (states, other)]
    assert torch.equal(*told)
    shorter = embed(time[:1], FoldedText.of(states[:1, :3], None), Fold(1, 4))
    torch.testing.assert_close(told[0][:4], shorter)


@torch.no_grad()
@pytest.mark.parametrize("what", ["time", "caption", "number"])
def test_each_frame_is_told_time_caption_and_number(what: str) -> None:
    embed = randomised(FrameCode(6, 8, 4))

    def told(changed: str = "") -> Tensor:
        time = torch.tensor([3.0, 900.0])
        text = draw(2, 5, 6)
        if changed == "time":
            time[1] = 400.0
        if changed == "caption":
            text[1] = draw(5, 6, seed=9)
        fold = Fold(2, 3, first=int(changed == "number"))
        embedded: Tensor = embed(time, FoldedText.of(text, None), fold)
        return embedded.view(2, 3, 8)

    change = (told(what) - told()).abs().amax(dim=2)
    assert (change[1] > 1e-3).all()
    assert (change[0] > 1e-3).all() == (what == "number")


@torch.no_grad()
def test_only_frames_of_clips_are_scaled_and_placed() -> None:
    fold, rows = Fold(2, 3, images=2), draw(10, 4, 5, 7)
    scale = randomised(FrameScale(8, 4))
    scaled = scale.change(rows, Moment(draw(2, 6), draw(6, 8)), fold)
    tokens = rows.flatten(2).mT
    placed = randomised(PlaceCode(4, 16)).add(tokens, 5, 7, fold)
    for changed, before in ((scaled, rows), (placed, tokens)):
        assert torch.equal(changed[6:], before[6:])
        assert ((changed[:6] - before[:6]).abs().flatten(1).amax(dim=1) > 1e-3).all()


@torch.no_grad()
def test_places_do_not_depend_on_how_many_cells_a_frame_has() -> None:
    place = randomised(PlaceCode(4, 16))
    fine, coarse = (
        place.add(torch.zeros(3, h * w, 4), h, w, Fold(1, 3)).view(3, h, w, 4)
        for h, w in ((12, 15), (4, 5))
    )
    torch.testing.assert_close(fine[:, 1::3, 1::3], coarse)


def network(frame_numbers: int | None) -> VideoUNet:
    return randomised(VideoUNet(**TINY, frame_numbers=frame_numbers))  # type: ignore[return-value, arg-type]


@torch.no_grad()
@pytest.mark.parametrize("numbers", [None, 4])
def test_only_a_network_that_is_told_numbers_can_tell_equal_frames_apart(
    numbers: int | None,
) -> None:
    """RoPE knows distances, and attention over values that are alike is that value."""
    frame, text = draw(1, 4, 1, 6, 8), draw(1, 5, 6, seed=1)
    made = network(numbers)(frame.expand(-1, -1, 4, -1, -1), torch.tensor([999.0]), text)
    apart = float((made - made[:, :, :1]).abs().max())
    assert (apart < 1e-4) == (numbers is None), apart
    assert numbers is None or apart > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("numbers", [None, 8])
def test_the_first_frame_matters_where_numbers_are_told(numbers: int | None) -> None:
    made, told = network(numbers), (draw(1, 4, 4, 6, 8), torch.tensor([9.0]), draw(1, 5, 6, seed=1))
    early, late = (made(*told, first_frame=first) for first in (0, 4))
    assert torch.equal(early, late) == (numbers is None)


def test_a_network_cannot_be_told_the_number_of_one_frame() -> None:
    with pytest.raises(RequestError, match="frame_numbers=1 leaves nothing to tell apart"):
        VideoUNet(**TINY, frame_numbers=1)  # type: ignore[arg-type]
