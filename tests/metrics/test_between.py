"""The figures of interpolation: right by hand, only where asked, and hard on what does nothing."""

import math

import pytest
import torch
from torch import Tensor

from mutoscope.metrics.between import between_keys, blended, displacement, psnr, speed
from mutoscope.stages.interpolation import num_frames, spread
from mutoscope.world.render import render, render_truth
from mutoscope.world.scene import draw_scene


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_psnr_is_that_of_the_textbook() -> None:
    truth = draw(2, 3, 4, 5, 6).clamp(-1, 1)
    everywhere = torch.ones(2, 4, 5, 6, dtype=torch.bool)
    found = psnr(truth + torch.tensor([0.1, -0.02]).view(2, 1, 1, 1, 1), truth, everywhere)
    expected = [20 * math.log10(2 / 0.1), 20 * math.log10(2 / 0.02)]
    assert found.tolist() == pytest.approx(expected, abs=1e-3)
    assert psnr(truth, truth, everywhere).tolist() == [math.inf, math.inf]


def test_psnr_sees_the_region_and_nothing_else() -> None:
    truth = draw(1, 3, 2, 4, 4)
    where = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    where[0, 1, 2, :2] = True
    spoilt = truth.clone()
    spoilt[:, :, ~where[0]] = 9.0
    assert psnr(spoilt, truth, where).item() == math.inf
    spoilt = truth.clone()
    spoilt[0, :, 1, 2, 0] += 0.2
    # Half of the region is off by 0.2.
    assert psnr(spoilt, truth, where).item() == pytest.approx(10 * math.log10(4 / 0.02), abs=1e-3)
    assert psnr(spoilt, truth, torch.zeros_like(where)).isnan().all()


def test_frames_at_the_times_of_key_frames_are_not_between_them() -> None:
    assert between_keys(9, factor=4).tolist() == [False, *[True] * 3] * 2 + [False]


def test_blending_keeps_key_frames_and_goes_straight_between() -> None:
    keys = draw(2, 3, 5, 4, 4)
    video = blended(keys, factor=4)
    assert video.shape[2] == num_frames(5, factor=4)
    torch.testing.assert_close(video[:, :, ::4], keys)
    for step, share in ((1, 0.25), (2, 0.5), (3, 0.75)):
        between = (1 - share) * keys[:, :, :-1] + share * keys[:, :, 1:]
        torch.testing.assert_close(video[:, :, step::4], between)


def test_speed_is_the_length_of_the_true_flow_frame_by_frame() -> None:
    flow = torch.zeros(1, 2, 3, 4, 2)
    flow[0, 0, 1, 2] = torch.tensor([-3.0, 4.0])
    flow[0, 1, 0, 0, 1] = 1e-3
    found = speed(flow)
    assert found.shape == (1, 3, 3, 4)
    assert found.nonzero().tolist() == [[0, 0, 1, 2], [0, 1, 0, 0]]
    assert found[0, 0, 1, 2] == 5


def test_the_truth_beats_blending_and_repetition_where_a_thing_moves() -> None:
    """In a scene with a still camera the region is the thing, and only what follows it is near."""
    scene = next(
        scene
        for scene in (draw_scene(seed, split="test") for seed in range(200))
        if scene.camera == "still"
        and [(thing.motion, thing.speed) for thing in scene.things] == [("right", "fast")]
    )
    size = {"height": 40, "width": 64, "num_frames": 9, "fps": 32.0}
    video = torch.from_numpy(render(scene, **size)).permute(3, 0, 1, 2)[None] / 127.5 - 1.0
    truth = render_truth(scene, **size)
    between = between_keys(9, factor=4)[:, None, None]
    where = (4 * speed(torch.from_numpy(truth.flow)[None]) >= 1) & between
    inside = torch.from_numpy(truth.masks[0] > 0.5) & between
    assert torch.equal(inside, where[0])
    keys = video[:, :, ::4]
    noisy = video + 0.01 * draw(*video.shape)
    figures = [
        float(psnr(each, video, where))
        for each in (noisy, blended(keys, factor=4), spread(keys, factor=4))
    ]
    assert figures[0] > 40
    assert 10 < max(figures[1:]) < 35


def thing(*, moved: int, height: int = 20, width: int = 40) -> Tensor:
    """A ramp of 6 by 6 pixels on grey that lies `moved` pixels to the right, B C F H W."""
    video = torch.zeros(1, 3, 1, height, width)
    video[0, :, 0, 7:13, 10 + moved : 16 + moved] = torch.linspace(0.4, 1.0, 36).view(6, 6)
    return video


def place_of_thing() -> Tensor:
    return thing(moved=0)[:, 0] > 0


@pytest.mark.parametrize("moved", [-5, 0, 3, 8])
def test_displacement_is_how_far_the_thing_has_moved(moved: int) -> None:
    found = displacement(thing(moved=moved), thing(moved=0), place_of_thing(), reach=8)
    assert found.tolist() == [[abs(moved)]]


def test_displacement_of_a_thing_that_went_on_beyond_the_border() -> None:
    truth = thing(moved=-10)
    found = displacement(thing(moved=-6), truth, truth[:, 0] > 0, reach=8)
    assert found.tolist() == [[4]]


def test_two_ghosts_are_where_one_of_them_is() -> None:
    ghosts = (thing(moved=-4) + thing(moved=6)) / 2
    assert displacement(ghosts, thing(moved=0), place_of_thing(), reach=8).tolist() == [[4]]


def test_what_fits_alike_everywhere_has_not_moved() -> None:
    """Nearest, not first: an empty frame shows the thing nowhere, and no place is better."""
    assert displacement(0 * thing(moved=0), thing(moved=0), place_of_thing(), reach=8).item() == 0


def test_each_frame_has_its_own_displacement_and_none_without_a_region() -> None:
    video = torch.cat([thing(moved=2), thing(moved=0), thing(moved=5)], dim=2)
    truth = torch.cat([thing(moved=0)] * 3, dim=2)
    where = torch.cat([place_of_thing(), place_of_thing(), ~place_of_thing() & False], dim=1)
    found = displacement(torch.cat([video, video.flip(2)]), torch.cat([truth] * 2),
                         torch.cat([where, where.flip(1)]), reach=6)  # fmt: skip
    torch.testing.assert_close(
        found, torch.tensor([[2, 0, math.nan], [math.nan, 0, 2]]), equal_nan=True
    )
