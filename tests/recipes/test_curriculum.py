"""Training in stages: which clips come when, from the world and from one's own videos."""

from pathlib import Path

import numpy as np
import pytest

import mutoscope
from mutoscope.data.marked import Marked
from mutoscope.data.sources import FolderSource
from mutoscope.recipes.curriculum import CurriculumTask, MarkTask, last_finished
from mutoscope.recipes.ship import unpack
from mutoscope.types import Size
from mutoscope.video.files import write_video
from mutoscope.world.grammar import caption
from mutoscope.world.scene import draw_scene


@pytest.mark.slow
def test_the_curriculum_begins_with_what_goes_one_way_and_ends_with_all(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    unpack(Path(mutoscope.__file__).parent / "mini", runs)
    task = CurriculumTask(
        clips=12,
        images_per_clip=0,
        batch_size=2,
        frame_numbers=True,
        rise=(2, 6),
        samples=1,
    )
    last = last_finished(runs).name
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", last)}
    batches = task.prepare(parents, None, "cpu", runs / "work").batches
    scenes = [draw_scene(6 * 10**9 + i, split="train", kind="video") for i in range(task.clips)]
    one_way = {
        caption(scene, level="full", seed=6 * 10**9 + number)
        for scene in scenes
        if scene.arrangement == "single"
        and scene.things[0].motion not in ("bounce", "orbit", "spin", "still")
        for number in range(2, 6, 3)
    }
    simple = [set(batches(number).captions) <= one_way for number in range(14)]
    assert simple[:3] == [True] * 3
    assert not any(simple[7:9])
    assert 0 < sum(simple[2:7]) < 5
    assert batches(5).captions == batches(5).captions


@pytest.mark.slow
def test_of_ones_own_videos_the_calm_ones_come_first(tmp_path: Path) -> None:
    runs, data = tmp_path / "runs", tmp_path / "videos"
    data.mkdir()
    unpack(Path(mutoscope.__file__).parent / "mini", runs)
    wall = np.full((16, 80, 128, 3), 40, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, wall.shape, np.uint8)
    for name in ("a noise", "a wall", "b noise", "b wall"):
        write_video(data / f"{name}.mp4", wall if "wall" in name else noise, 8.0, {})
        (data / f"{name}.txt").write_text(name)
    task = CurriculumTask(
        clips=4, images_per_clip=0, batch_size=2, frame_numbers=True, rise=(2, 6), samples=1
    )
    last = last_finished(runs).name
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", last)}
    batches = task.prepare(parents, data, "cpu", runs / "work").batches
    shown = [set(batches(number).captions) for number in range(14)]
    assert shown[0] | shown[1] | shown[2] == {"a wall", "b wall"}
    assert set.union(*shown[7:]) == {"a noise", "a wall", "b noise", "b wall"}


def test_ones_own_videos_are_marked_too_and_at_their_own_size(tmp_path: Path) -> None:
    frames = np.full((20, 80, 128, 3), 40, np.uint8)
    write_video(tmp_path / "a.mp4", frames, 8.0, {})
    (tmp_path / "a.txt").write_text("a grey wall")
    for source in (MarkTask(clips=1)._clips(tmp_path), MarkTask(clips=1)._stills(tmp_path)):
        assert isinstance(source, Marked)
        assert isinstance(source.clips, FolderSource)
        assert (source.clips.size, source.size) == (Size(40, 64), Size(80, 128))
        shown, captions = source.clip(0)
        assert (shown.shape[1:], captions) == ((80, 128, 3), ("a grey wall",))
        assert shown[0].max() > 120  # the mark
        assert np.median(shown[0]) < 60
    clean = MarkTask(clips=1, marked=False)._clips(tmp_path)
    assert isinstance(clean, FolderSource)
    assert clean.size == Size(80, 128)
