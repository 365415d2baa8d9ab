"""Recipes on the user's own videos: each learns from them, and never goes on with others."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.data.sources import FolderSource
from mutoscope.errors import DataError, RequestError, TrainingError
from mutoscope.recipes import mini, own
from mutoscope.recipes.readers import OracleTask, TextTask
from mutoscope.recipes.ship import ship
from mutoscope.recipes.tasks import AutoencoderTask
from mutoscope.training.footage import of_footage
from mutoscope.training.optim import Schedule
from mutoscope.training.provenance import file_hashes
from mutoscope.training.recipe import Recipe, Task
from mutoscope.training.trainer import train
from mutoscope.types import Size
from mutoscope.video.files import write_video

GREYS = (60, 130, 200)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three videos of four seconds, each of one grey."""
    folder = tmp_path / "videos"
    for number, grey in enumerate(GREYS):
        frames = np.full((32, 80, 128, 3), grey, np.uint8)
        write_video(folder / f"{number}.mp4", frames, 8.0, {})
        (folder / f"{number}.txt").write_text(f"a zebra of shade {number}\n")
    return folder


def short(recipe: Recipe, task: Task, *parents: Recipe) -> Recipe:
    return replace(
        recipe, task=task, parents=parents, steps=2, schedule=Schedule(), evaluate_every=2
    )


def autoencoder() -> Recipe:
    task = AutoencoderTask(widths=(16, 16), latent_channels=4, batch_size=6, each=2, samples=4)
    return short(mini.autoencoder(), task)


@pytest.mark.slow
def test_an_autoencoder_sees_pieces_of_ones_own_videos(videos: Path, tmp_path: Path) -> None:
    run = autoencoder().task.prepare({}, videos, "cpu", tmp_path)
    pixels = [run.batches(number).video for number in range(4)]
    assert all(video is not None and video.shape == (6, 3, 1, 40, 64) for video in pixels)
    shades = torch.cat([video.mean((1, 2, 3, 4)) for video in pixels if video is not None])
    seen = {round(float(shade + 1) * 127.5) for shade in shades}
    assert all(min(abs(shade - grey) for grey in GREYS) <= 3 for shade in seen)
    assert len(seen) == 3  # all of them come, in little time
    model = train(autoencoder(), tmp_path / "runs", data=videos)
    assert (model / "vae" / "config.json").is_file()
    assert of_footage(tmp_path / "runs" / "autoencoder")


@pytest.mark.slow
def test_tokenizer_and_text_encoder_learn_the_words_of_the_captions(
    videos: Path, tmp_path: Path
) -> None:
    oracle = short(mini.oracle(), OracleTask(widths=(8, 16, 32), batch_size=2, samples=2))
    task = TextTask(width=32, layers=1, batch_size=8, samples=16, probes=8)
    text = short(mini.text(), task, oracle)
    model = train(text, tmp_path / "runs", data=videos)
    run = task.prepare({"oracle": model.parents[1] / "oracle" / "model"}, videos, "cpu", tmp_path)
    batch = run.batches(0)
    assert set(batch.captions) == {f"a zebra of shade {number}" for number in range(3)}
    assert len(batch.captions) == 6  # of two seconds each; there are no more
    known = run.objective.text.tokenizer  # type: ignore[attr-defined]
    assert len(known.tokenize("zebra")) == 1
    assert run.evaluate is not None
    assert set(run.evaluate(run.objective.modules(), 0, tmp_path)) == {"found_of_6"}
    # The oracle learns from the world alone, so other videos would change nothing of it.
    assert not (tmp_path / "runs" / "oracle" / "footage.json").exists()
    for number in (1, 2):
        (videos / f"{number}.txt").unlink()
    write_video(videos / "0.mp4", np.zeros((16, 80, 128, 3), np.uint8), 8.0, {})
    with pytest.raises(DataError, match="gives one clip of 2 s"):
        task.prepare({"oracle": model.parents[1] / "oracle" / "model"}, videos, "cpu", tmp_path)


def other_videos(folder: Path) -> Path:
    other = shutil.copytree(folder, folder.with_name("others"))
    (other / "2.txt").write_text("something else\n")
    return other


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", [other_videos, pytest.param(lambda folder: None, marks=pytest.mark.long)]
)
def test_a_run_never_goes_on_with_other_videos(
    videos: Path, tmp_path: Path, other: Callable[[Path], Path | None]
) -> None:
    runs, recipe, others = tmp_path / "runs", autoencoder(), other(videos)
    train(recipe, runs, data=videos)
    with pytest.raises(TrainingError, match=r"was begun with videos .* now given"):
        train(recipe, runs, data=others)  # finished
    before = file_hashes(runs / "autoencoder" / "model" / "vae")
    shutil.rmtree(runs / "autoencoder" / "model")
    with pytest.raises(TrainingError, match=r"was begun with videos .* now given"):
        train(recipe, runs, data=others)  # to be gone on with
    # The same ones may lie elsewhere; the run takes up where it was, and ends alike.
    again = train(recipe, runs, data=shutil.copytree(videos, tmp_path / "moved"))
    assert file_hashes(again / "vae") == before


def test_own_recipes_need_videos_and_say_so_before_anything_is_trained(tmp_path: Path) -> None:
    for recipe in (own.base(), own.interpolation(), own.super_resolution()):
        with pytest.raises(RequestError, match="Give --data FOLDER"):
            train(recipe, tmp_path / "runs")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_any_word_may_be_used_with_what_learned_from_ones_own_videos(
    videos: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    train(autoencoder(), runs, data=videos)
    with pytest.raises(RequestError, match="holds no finished run"):
        ship(tmp_path / "nothing", tmp_path / "models")
    (tmp_path / "models" / "lavie").mkdir(parents=True)
    ship(runs, tmp_path / "models")
    index = (tmp_path / "models" / "lavie" / "model_index.json").read_text()
    assert '"vocabulary": []' in index


def test_what_is_wrong_with_a_folder_is_said(videos: Path) -> None:
    source = FolderSource(folder=videos, num_frames=1, fps=1.0, size=Size(16, 16))
    (videos / "0.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as text"):
        [source.clip(number) for number in range(len(source))]
    for file in videos.glob("*.txt"):
        file.unlink()
    with pytest.raises(DataError, match="holds no captioned video"):
        replace(source)
