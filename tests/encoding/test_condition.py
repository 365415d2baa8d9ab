"""What a denoiser is told: leaving out, dropping at random, stacking."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from mutoscope.encoding.condition import Condition
from mutoscope.errors import RequestError


def condition(
    batch: int = 3,
    *,
    length: int = 5,
    null_length: int = 5,
    seed: int = 0,
    frames: bool = False,
    beside: tuple[str, ...] = (),
) -> Condition:
    generator = Generator().manual_seed(seed)
    return Condition(
        text=torch.randn(batch, length, 4, generator=generator),
        text_mask=torch.arange(length).expand(batch, -1) < length - 1,
        null_text=torch.randn(batch, null_length, 4, generator=generator),
        null_mask=torch.arange(null_length).expand(batch, -1) < 2,
        frames=torch.randn(batch, 2, 6, 4, 4, generator=generator) if frames else None,
        frame_mask=torch.arange(6).expand(batch, -1) < 2 if frames else None,
        beside={name: torch.randn(batch, 2, 3, 4, 4, generator=generator) for name in beside},
    )


def test_without_text_is_the_null_text_and_nothing_else_changes() -> None:
    told = condition(frames=True, beside=("keys",))
    left = told.without("text")
    assert torch.equal(left.text, told.null_text)
    assert torch.equal(left.text_mask, told.null_mask)
    assert left.frames is told.frames
    assert left.frame_mask is told.frame_mask
    assert left.beside is told.beside


@pytest.mark.parametrize(("length", "null_length"), [(5, 2), (2, 5)])
def test_without_text_pads_the_shorter_of_two_texts(length: int, null_length: int) -> None:
    told = condition(length=length, null_length=null_length)
    left = told.without("text")
    assert left.text.shape == (3, 5, 4)
    assert torch.equal(left.text[:, :null_length], told.null_text)
    assert left.text_mask.sum(dim=1).tolist() == [2, 2, 2]


def test_frames_may_be_known_in_much_noise_only() -> None:
    told = replace(condition(frames=True), frames_until=800.0)
    assert told.at(torch.full((3,), 800.0)) is told
    later = told.at(torch.full((3,), 799.0))
    assert later.frame_mask is not None
    assert not later.frame_mask.any()
    assert later.text is told.text
    both = Condition.stack([told, told.without("text")])
    assert both.frames_until == 800
    with pytest.raises(RequestError, match="known until different times"):
        Condition.stack([told, condition(frames=True)])
    always = condition(frames=True)
    assert always.at(torch.zeros(3)) is always


def test_without_frames_knows_no_frame_but_still_stacks() -> None:
    told = condition(frames=True)
    left = told.without("frames")
    assert left.frame_mask is not None
    assert not left.frame_mask.any()
    assert Condition.stack([told, left]).batch_size == 6
    assert torch.equal(left.text, told.text)


def test_without_a_companion_has_zeros_in_its_place_and_still_stacks() -> None:
    told = condition(beside=("keys", "small"))
    left = told.without("keys")
    assert left.beside["keys"].shape == told.beside["keys"].shape
    assert not left.beside["keys"].any()
    assert left.beside["small"] is told.beside["small"]
    assert torch.equal(left.text, told.text)
    assert told.beside["keys"].all()
    both = Condition.stack([told, left])
    assert torch.equal(both.beside["keys"][:3], told.beside["keys"])
    assert not both.beside["keys"][3:].any()


def test_what_was_read_of_a_text_goes_with_it_and_with_no_other() -> None:
    layer = torch.nn.Identity()
    told = replace(condition(frames=True), text_read={layer: (torch.zeros(1), torch.zeros(1))})
    for same in (told.without("frames"), told.crop(slice(0, 2), slice(1, 3))):
        assert same.text_read is told.text_read
    for other in (told.without("text"), Condition.stack([told, told]), told.to("cpu")):
        assert other.text_read is None


def early() -> Condition:
    return replace(
        condition(2, length=4, null_length=2),
        early_text=torch.full((2, 5, 4), 7.0),
        early_mask=torch.ones(2, 5, dtype=torch.bool),
        early_until=950.0,
    )


@pytest.mark.parametrize(("time", "is_early"), [(999.0, True), (950.0, True), (949.0, False)])
def test_in_much_noise_another_text_is_told(time: float, is_early: bool) -> None:
    given = early()
    told = given.at(torch.full((2,), time))
    assert torch.equal(told.text, torch.full((2, 5, 4), 7.0) if is_early else given.text)
    assert told.text_mask.shape == told.text.shape[:2]


def test_without_text_nothing_is_told_early_and_both_still_stack() -> None:
    given = early()
    branches = [given, given.without("text")]
    assert branches[1].early_text is None
    both = Condition.stack(branches)
    in_noise, later = both.at(torch.full((4,), 950.0)), both.at(torch.full((4,), 100.0))
    assert torch.equal(in_noise.text[:2], torch.full((2, 5, 4), 7.0))
    assert torch.equal(later.text[:2], given.text)
    for told in (in_noise, later):  # of the null text there are two tokens
        assert torch.equal(told.text[2:, :2], given.null_text)
        assert not told.text_mask[2:, 2:].any()
    assert given.to("cpu").early_text is not None


def test_without_nothing_is_the_same() -> None:
    told = condition()
    assert told.without() is told
    assert told.without("frames") is told


def test_drop_is_per_sample_and_as_often_as_asked() -> None:
    told = condition(batch=2000)
    left = told.drop({"text": 0.3}, Generator().manual_seed(0))
    gone = (left.text == told.null_text).all(dim=(1, 2))
    stayed = (left.text == told.text).all(dim=(1, 2))
    assert torch.equal(gone, ~stayed)
    assert torch.equal(left.text_mask[gone], told.null_mask[gone])
    assert torch.equal(left.text_mask[stayed], told.text_mask[stayed])
    assert 0.25 < gone.float().mean() < 0.35


def test_parts_are_dropped_independently() -> None:
    told = condition(batch=4000, frames=True)
    left = told.drop({"text": 0.5, "frames": 0.5}, Generator().manual_seed(0))
    assert left.frame_mask is not None
    text = (left.text == told.null_text).all(dim=(1, 2))
    frames = ~left.frame_mask.any(dim=1)
    assert 0.45 < frames.float().mean() < 0.55
    assert 0.22 < (text & frames).float().mean() < 0.28


def test_companions_are_dropped_per_sample_and_independently() -> None:
    told = condition(batch=2000, beside=("keys", "small"))
    left = told.drop({"keys": 0.3, "small": 0.5, "text": 0.5}, Generator().manual_seed(0))
    gone = {name: ~each.flatten(1).any(dim=1) for name, each in left.beside.items()}
    for name, each in left.beside.items():
        assert torch.equal(each[~gone[name]], told.beside[name][~gone[name]])
    assert 0.25 < gone["keys"].float().mean() < 0.35
    assert 0.45 < gone["small"].float().mean() < 0.55
    assert 0.12 < (gone["keys"] & gone["small"]).float().mean() < 0.18
    text = (left.text == told.null_text).all(dim=(1, 2))
    assert 0.12 < (gone["keys"] & text).float().mean() < 0.18


def test_drop_never_and_always() -> None:
    told = condition(batch=500)
    assert torch.equal(told.drop({"text": 0.0}, Generator()).text, told.text)
    assert torch.equal(told.drop({"text": 1.0}, Generator()).text, told.null_text)


def test_each_caption_of_a_clip_with_images_is_dropped_on_its_own() -> None:
    generator = Generator().manual_seed(0)
    told = Condition(
        text=torch.randn(500, 5, 3, 4, generator=generator),
        text_mask=torch.ones(500, 5, 3, dtype=torch.bool),
        null_text=torch.zeros(500, 5, 3, 4),
        null_mask=torch.zeros(500, 5, 3, dtype=torch.bool),
    )
    gone = ~told.drop({"text": 0.5}, generator).text_mask.any(dim=2)
    assert 0.45 < gone.float().mean() < 0.55
    assert 0 < gone.all(dim=1).float().mean() < 0.1


def test_drop_draws_from_the_generator_alone_whatever_the_probability() -> None:
    told = condition(batch=50)
    first, second = Generator().manual_seed(3), Generator().manual_seed(3)
    once, again = told.drop({"text": 0.5}, first), told.drop({"text": 0.5}, second)
    assert torch.equal(once.text, again.text)
    assert not torch.equal(once.text, told.drop({"text": 0.5}, first).text)
    told.drop({"text": 0.0}, second)
    assert torch.equal(first.get_state(), second.get_state())


def test_stack_keeps_every_row_and_pads_with_masked_zeros() -> None:
    short, long = condition(2, length=3, seed=1), condition(3, length=6, null_length=2, seed=2)
    both = Condition.stack([short, long])
    assert both.batch_size == 5
    assert torch.equal(both.text[:2, :3], short.text)
    assert torch.equal(both.text[2:], long.text)
    assert not both.text[:2, 3:].any()
    assert torch.equal(both.text_mask[:2, :3], short.text_mask)
    assert not both.text_mask[:2, 3:].any()
    assert torch.equal(both.null_text[:2], short.null_text)
    assert not both.null_mask[2:, 2:].any()
    assert both.frames is None


def test_stack_joins_known_frames() -> None:
    first, second = condition(1, frames=True, seed=1), condition(2, frames=True, seed=2)
    both = Condition.stack([first, second])
    assert both.frames is not None
    assert torch.equal(both.frames[1:], second.frames)
    assert both.frame_mask is not None
    assert both.frame_mask.sum().item() == 6


def test_stack_joins_companions_in_order() -> None:
    first, second = condition(1, beside=("keys",), seed=1), condition(2, beside=("keys",), seed=2)
    both = Condition.stack([first, second])
    assert torch.equal(both.beside["keys"][:1], first.beside["keys"])
    assert torch.equal(both.beside["keys"][1:], second.beside["keys"])


def test_crop_cuts_what_lies_on_cells_and_nothing_else() -> None:
    told = condition(frames=True, beside=("low",))
    part = told.crop(slice(1, 3), slice(0, 3))
    assert told.frames is not None
    assert part.frames is not None
    assert torch.equal(part.frames, told.frames[..., 1:3, :3])
    assert torch.equal(part.beside["low"], told.beside["low"][..., 1:3, :3])
    assert part.text is told.text
    assert part.frame_mask is told.frame_mask
    assert condition().crop(slice(1, 3), slice(0, 3)).frames is None


def test_stack_joins_noise_levels() -> None:
    told = replace(condition(), noise_level=torch.tensor([1, 2, 3]))
    level = Condition.stack([told, told.without("text")]).noise_level
    assert level is not None
    assert level.tolist() == [1, 2, 3, 1, 2, 3]
    with pytest.raises(RequestError, match="with and without a noise level cannot be stacked"):
        Condition.stack([told, condition()])


def test_only_conditions_of_the_same_frames_stack() -> None:
    sparse = replace(condition(), frame_stride=2, first_frame=1)
    stacked = Condition.stack([sparse, sparse.without("text")])
    assert (stacked.first_frame, stacked.frame_stride) == (1, 2)
    with pytest.raises(RequestError, match=r"strides \[\(0, 1\), \(1, 2\)\] cannot be stacked"):
        Condition.stack([sparse, condition()])
    with pytest.raises(RequestError, match="all samples show the same frames"):
        Condition.stack([sparse, replace(sparse, first_frame=0)])


def test_to_moves_every_tensor() -> None:
    told = replace(condition(frames=True, beside=("keys",)), noise_level=torch.tensor([1, 2, 3]))
    moved = told.to("meta")
    tensors = {name: each for name, each in vars(moved).items() if hasattr(each, "device")}
    assert len(tensors) == 7
    assert {each.device.type for each in tensors.values()} == {"meta"}
    assert [each.device.type for each in moved.beside.values()] == ["meta"]
    assert condition().to("meta").frames is None


def test_what_does_not_fit_is_refused() -> None:
    told = condition()
    with pytest.raises(RequestError, match="pose cannot be left out of a condition: its parts are"):
        told.without("text", "pose")
    with pytest.raises(RequestError, match="sound cannot be left out"):
        told.drop({"sound": 0.1}, Generator())
    with pytest.raises(RequestError, match=r"text cannot be dropped with probability 1\.5"):
        told.drop({"text": 1.5}, Generator())
    with pytest.raises(RequestError, match="no conditions cannot be stacked"):
        Condition.stack([])
    with pytest.raises(RequestError, match="with and without known frames cannot be stacked"):
        Condition.stack([told, condition(frames=True)])
    with pytest.raises(RequestError, match=r"companions \[\[\], \['keys'\]\] cannot be stacked"):
        Condition.stack([told, condition(beside=("keys",))])
    with pytest.raises(RequestError, match="parts are text, frames, keys"):
        condition(beside=("keys",)).without("small")
    with pytest.raises(RequestError, match="a companion cannot be named 'text'"):
        condition(beside=("text",))
    with pytest.raises(RequestError, match="frames or frame_mask but not the other"):
        Condition(
            text=told.text,
            text_mask=told.text_mask,
            null_text=told.null_text,
            null_mask=told.null_mask,
            frame_mask=torch.ones(3, 6, dtype=torch.bool),
        )
