"""The oracle: what it looks at, and that it learns from what it is shown."""

import pytest
import torch

from mutoscope.data.batches import RenderedBatches
from mutoscope.errors import RequestError
from mutoscope.metrics.oracle import Oracle, OracleReading, frames_to_read, spoil
from mutoscope.world.labels import SCENE_FACTORS, THING_FACTORS


def small_oracle() -> Oracle:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Oracle((8, 16, 32))


def numbered(frames: int) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float32).view(1, 1, -1, 1, 1).expand(1, 3, -1, 80, 128)


@pytest.mark.parametrize(("frames", "fps", "seen"), [(16, 8.0, 2), (61, 32.0, 8), (8, 4.0, 1)])
def test_it_looks_every_quarter_second(frames: int, fps: float, seen: int) -> None:
    found = frames_to_read(numbered(frames), fps=fps)[0, 0, :, 0, 0]
    assert found.tolist() == [seen * number for number in range(8)]


def test_it_refuses_a_rate_without_quarters() -> None:
    with pytest.raises(RequestError, match="multiple of 4 frames per second"):
        frames_to_read(numbered(16), fps=10.0)


def test_readings_name_values_of_every_factor() -> None:
    readings = small_oracle().eval().read(torch.zeros(3, 3, 16, 80, 128), fps=8.0)
    assert len(readings) == 3
    for reading in readings:
        assert set(reading.scene) == set(SCENE_FACTORS)
        assert len(reading.things) == (1 if reading.scene["arrangement"] == "single" else 2)
        for thing in reading.things:
            assert all(thing[name] in values for name, values in THING_FACTORS.items())


def test_stills_teach_nothing_about_motion() -> None:
    oracle = small_oracle()
    stills = RenderedBatches(batch_size=2, num_frames=1, all_concepts=True)(0)
    loss = OracleReading(oracle).loss(stills, torch.Generator().manual_seed(0))
    loss.value.backward()
    assert "motion" not in loss.report
    assert oracle.thing_heads["motion"].weight.grad is None
    assert oracle.thing_heads["shape"].weight.grad is not None


@pytest.mark.slow
def test_it_learns_a_batch() -> None:
    oracle = small_oracle()
    clips = RenderedBatches(batch_size=4, num_frames=8, fps=4.0, all_concepts=True)(0)
    objective = OracleReading(oracle)
    optimizer = torch.optim.AdamW(oracle.parameters(), lr=5e-3)
    losses = []
    for step in range(30):
        loss = objective.loss(clips, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        losses.append(loss.value.item())
    assert losses[-1] < 0.6 * losses[0]


def test_spoiling_leaves_half_of_the_clips_as_they_are() -> None:
    video = torch.rand(200, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    spoilt = spoil(video, torch.Generator().manual_seed(1))
    same = [torch.equal(a, b) for a, b in zip(video, spoilt, strict=True)]
    assert 70 <= sum(same) <= 130
