"""The task of telling true clips from own ones: what is drawn, kept, paired and left."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from mutoscope.diffusion.guidance import Unguided
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.discriminative import DiscriminativeTask, DrawnClips, PairBatches
from mutoscope.recipes.first_frame import told_first_frames
from mutoscope.recipes.parents import load_unet
from mutoscope.stages.discriminative import OWN, Discriminative
from mutoscope.types import Latents

pytestmark = pytest.mark.slow

TASK = DiscriminativeTask(drawn=10, steps=2, batch_size=2, samples=1)


@pytest.fixture
def told_parents(parents: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """The same with a base that is told first frames."""
    folder = tmp_path / "first_frame"
    told_first_frames(load_unet(parents["base"])).save_pretrained(folder / "base")
    others = {name: parents[name] for name in ("autoencoder", "words")}
    return others | {"first_frame": folder}


def test_it_begins_as_what_drew_and_leaves_a_base_that_is_told_first_frames(
    told_parents: dict[str, Path], tmp_path: Path
) -> None:
    run = TASK.prepare(told_parents, None, "cpu", tmp_path / "work")
    stage = run.objective
    assert isinstance(stage, Discriminative)
    start = VideoUNet.from_pretrained(told_parents["first_frame"] / "base").state_dict()
    for network in (stage.network, stage.before.network):
        assert all(torch.equal(each, start[n]) for n, each in network.state_dict().items())
    trained = [each.requires_grad for each in stage.network.parameters()]
    assert all(trained)
    run.export(stage.modules(), tmp_path / "model")
    again = VideoUNet.from_pretrained(tmp_path / "model" / "base").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in start.items())
    assert str(tmp_path) not in (tmp_path / "model" / "base" / "config.json").read_text("utf-8")


def test_each_true_clip_comes_with_one_drawn_under_its_caption(
    told_parents: dict[str, Path], tmp_path: Path
) -> None:
    run = TASK.prepare(told_parents, None, "cpu", tmp_path)
    batches, stage = run.batches, run.objective
    assert isinstance(batches, PairBatches)
    assert isinstance(stage, Discriminative)
    batch = batches(4)  # clips 8 and 9: the second file of drawn ones, shorter than the first
    assert batch.captions == tuple(batches.clips.captions(n)[n % 6] for n in (8, 9))
    assert batch.latents is not None
    assert torch.equal(batch.latents, batches.clips.latents([8, 9]))
    drawn = stage.before.sample(
        stage.before.describe(list(batch.captions)),
        (4, 16, 10, 16),
        scheduler=TASK.process.scheduler("dpm++"),
        steps=2,
        guidance=Unguided(),
        generators=[Generator().manual_seed(10**6 * TASK.seed + n) for n in (8, 9)],
    )
    torch.testing.assert_close(batch.labels[OWN], drawn.half().float())


def test_what_is_drawn_once_is_read_from_then_on(
    told_parents: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(TASK, drawn=2)
    first = task.prepare(told_parents, None, "cpu", tmp_path).batches(0)

    def refuse(self: DrawnClips, numbers: range) -> Latents:
        raise AssertionError("it was drawn again")

    monkeypatch.setattr(DrawnClips, "_draw", refuse)
    again = task.prepare(told_parents, None, "cpu", tmp_path).batches(0)
    assert torch.equal(first.labels[OWN], again.labels[OWN])
    with pytest.raises(AssertionError, match="drawn again"):
        task.prepare(told_parents, None, "cpu", tmp_path / "elsewhere").batches(0)
