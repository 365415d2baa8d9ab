"""The task of the first frame: what it starts from, what it is shown, and what it leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mutoscope.nn.temporal import is_temporal
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.first_frame import FirstFrameSamples, FirstFrameTask, first_frame
from mutoscope.recipes.mini import autoencoder, base, words
from mutoscope.recipes.parents import load_unet
from mutoscope.recipes.tasks import DenoiserTask
from mutoscope.stages.beginning import GOES_ON, can_begin
from mutoscope.stages.key_frames import KeyFrames

pytestmark = pytest.mark.slow

SMALL = {"widths": (16, 32, 32), "heads": (1, 1, 1), "images": 3, "clips": 2, "batch_size": 2}


@pytest.mark.long
def test_it_goes_on_from_the_base_with_its_batches_and_those_of_later_clips(
    parents: dict[str, Path], tmp_path: Path
) -> None:
    task = FirstFrameTask(**SMALL, later=3, later_clips=2, samples=2)
    run = task.prepare(parents, None, "cpu", tmp_path)
    stage = run.objective
    assert isinstance(stage, KeyFrames)
    assert can_begin(stage.network)
    start, found = load_unet(parents["base"]).state_dict(), stage.network.state_dict()
    assert torch.equal(found["conv_in.weight"][:, :4], start["conv_in.weight"])
    assert not found["conv_in.weight"][:, 4:].any()
    assert all(torch.equal(found[name], start[name]) for name in start if "conv_in" not in name)

    usual, later = run.batches(0), run.batches(3)
    assert usual.image_latents is not None
    assert GOES_ON not in usual.labels
    assert later.image_latents is None
    assert later.labels[GOES_ON].tolist() == [True, True]
    assert later.latents is not None
    assert later.latents.shape[2] == 16
    for batch in (usual, later):
        assert stage.loss(batch, torch.Generator().manual_seed(0)).value.isfinite()

    assert isinstance(run.evaluate, FirstFrameSamples)
    alone = replace(run.evaluate, others=lambda *_: {"others": 1.0})
    figures = alone(stage.modules(), 0, tmp_path)
    # So far it heeds no first frame: an error, and nothing that one is worth.
    assert figures.pop("first_frame_error") > 0
    assert figures == {"first_frame_worth": 0.0, "first_frame_own_worth": 0.0, "others": 1.0}
    assert (tmp_path / "first_frames.png").is_file()

    run.export(stage.modules(), tmp_path / "model")
    assert can_begin(VideoUNet.from_pretrained(tmp_path / "model" / "base"))
    # Other runs start from it as from any base.
    again = load_unet(tmp_path / "model").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in start.items())


def test_only_time_layers_and_the_input_are_trained_if_that_is_asked(
    parents: dict[str, Path], tmp_path: Path
) -> None:
    task = FirstFrameTask(**SMALL, trained="temporal", later=0)
    stage = task.prepare(parents, None, "cpu", tmp_path).objective
    trained = {n for n, p in stage.modules()["network"].named_parameters() if p.requires_grad}
    assert {"conv_in.weight", "conv_in.bias"} < trained
    assert all(is_temporal(name) or name.startswith("conv_in.") for name in trained)


def test_the_recipe_starts_from_the_base_that_it_is_given() -> None:
    start = base()
    recipe = first_frame(autoencoder(), words(), start)
    assert [parent.name for parent in recipe.parents] == ["autoencoder", "words", "base"]
    assert recipe.hash() != first_frame(autoencoder(), words(), replace(start, steps=1)).hash()
    # A network of the same layers, or its weights would not fit.
    assert isinstance(recipe.task, FirstFrameTask)
    assert isinstance(start.task, DenoiserTask)
    for name in ("widths", "attention_levels", "heads", "frame_numbers"):
        assert getattr(recipe.task, name) == getattr(start.task, name)
