"""Batches by number: every clip once an epoch, the same batch for the same number."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutoscope.data.batches import (
    AlikeBatches,
    CropBatches,
    JointBatches,
    LatentBatches,
    PieceBatches,
    RenderedBatches,
    SparseBatches,
    every_fourth,
    shuffled,
    with_image_only_concepts,
)
from mutoscope.data.cache import PART, LatentCache
from mutoscope.data.sources import WorldSource
from mutoscope.encoding.codec import LatentCodec
from mutoscope.errors import RequestError
from mutoscope.systems.lavie import LaVie
from mutoscope.types import Batch
from mutoscope.video.frames import to_floats
from mutoscope.world import factors as world
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene
from mutoscope.world.splits import held_out


@pytest.fixture(scope="module")
def caches(tiny_system: LaVie, tmp_path_factory: pytest.TempPathFactory) -> list[LatentCache]:
    """A cache of 6 clips of 4 frames, and one of 11 stills, at a size the tiny codec takes."""
    folder = tmp_path_factory.mktemp("cache")
    sources = [
        WorldSource(count=6, kind="video", num_frames=4, height=16, width=24),
        WorldSource(count=11, kind="image", num_frames=1, height=16, width=24),
    ]
    codec = LatentCodec(tiny_system.vae)
    return [LatentCache(folder, source, codec, processes=1) for source in sources]


def test_an_epoch_holds_every_clip_once_in_a_new_order() -> None:
    epochs = [shuffled(10, 10, number, seed=0) for number in range(3)]
    assert epochs[0] == list(range(10))
    assert sorted(epochs[1]) == sorted(epochs[2]) == list(range(10))
    assert epochs[0] != epochs[1] != epochs[2]
    assert shuffled(10, 5, 3, seed=0) == epochs[1][5:]
    assert shuffled(10, 5, 3, seed=1) != epochs[1][5:]
    # A batch may span two epochs.
    assert len(shuffled(3, 5, 0, seed=0)) == 5


@pytest.mark.slow
def test_joint_batches_carry_images_with_their_own_captions(caches: list[LatentCache]) -> None:
    clips, stills = caches
    batch = JointBatches(clips, stills, batch_size=2, images_per_clip=3, seed=1)(5)
    assert batch.latents is not None
    assert batch.image_latents is not None
    assert batch.latents.shape[2] == 4
    assert batch.image_latents.shape[:3] == (2, 4, 3)
    assert [len(captions) for captions in batch.image_captions] == [3, 3]
    members = shuffled(11, 6, 5, seed=2)
    for place, member in enumerate(members):
        row, column = divmod(place, 3)
        torch.testing.assert_close(
            batch.image_latents[row, :, column], stills.latents([member])[0, :, 0]
        )
        assert batch.image_captions[row][column] in stills.captions(member)


def test_a_batch_depends_on_its_number_alone(caches: list[LatentCache]) -> None:
    batches = LatentBatches(caches[0], batch_size=4, seed=3)
    later, sooner = batches(7), batches(2)
    assert batches(7).captions == later.captions != sooner.captions


def test_alike_batches_share_a_class_and_never_a_clip(caches: list[LatentCache]) -> None:
    cache = caches[0]
    ways = np.stack([np.zeros(len(cache), int), np.arange(len(cache)) % 2])
    batches = AlikeBatches(cache, ways, batch_size=2, seed=0)
    everything = cache.latents(range(len(cache))).flatten(1)
    for number in range(8):
        features = batches(number).features
        assert features is not None
        members = [int((everything == row).all(dim=1).nonzero()[0, 0]) for row in features]
        assert len(set(members)) == 2
        if number % 2:
            assert members[0] % 2 == members[1] % 2
        for member, text in zip(members, batches(number).captions, strict=True):
            assert text in cache.captions(member)


def test_a_class_that_is_too_small_is_filled_with_others(caches: list[LatentCache]) -> None:
    lonely = np.arange(len(caches[0]))[None]
    batch = AlikeBatches(caches[0], lonely, batch_size=3, seed=0)(0)
    assert batch.features is not None
    assert len(batch.features.unique(dim=0)) == 3


def test_rendered_batches_hold_truth_and_never_repeat() -> None:
    batches = RenderedBatches(batch_size=3, num_frames=2, fps=4.0, stills_every=2)
    clips, stills = batches(0), batches(1)
    assert clips.video is not None
    assert stills.video is not None
    assert clips.video.shape == (3, 3, 2, 80, 128)
    assert stills.video.shape[2] == 1
    assert not torch.equal(clips.video[0], batches(2).video[0])  # type: ignore[index]
    scene = batches.scene(0, still=False)
    assert clips.labels["background"][0] == world.BACKGROUNDS.index(scene.background)
    assert clips.labels["covers"].shape == (3, 2, 10, 16)
    assert clips.labels["courses"].shape == (3, 2, 2, 3)
    x, y, diameter = clips.labels["courses"][0, 0, 0]
    assert (x, y) == (
        pytest.approx(scene.things[0].x),
        pytest.approx(scene.things[0].y),
    )
    assert diameter > 0
    covered = clips.labels["covers"][0, 0]
    row, column = divmod(int((covered == 0).flatten().nonzero()[0]), 16)
    assert abs((column + 0.5) / 10 - x) < diameter / 2
    assert abs((row + 0.5) / 10 - y) < diameter / 2


@pytest.mark.slow
def test_training_batches_see_neither_held_out_nor_image_only_in_motion() -> None:
    batches = RenderedBatches(batch_size=1, num_frames=2)
    for seed in range(300):
        scene = batches.scene(seed, still=False)
        assert scene.style == "none"
        for thing in scene.things:
            assert thing.shape in world.SHAPES
            assert not held_out(thing.shape, thing.colour, thing.motion)


@pytest.mark.slow
def test_the_oracle_sees_all_concepts() -> None:
    batches = RenderedBatches(batch_size=1, num_frames=2, all_concepts=True)
    scenes = [batches.scene(seed, still=False) for seed in range(300)]
    shapes = {thing.shape for scene in scenes for thing in scene.things}
    assert shapes == {*world.SHAPES, *world.IMAGE_ONLY_SHAPES}
    assert {scene.style for scene in scenes} == set(world.STYLES)
    assert any(held_out(t.shape, t.colour, t.motion) for s in scenes for t in s.things)


def test_image_only_concepts_come_at_the_share_asked_for() -> None:
    scene = draw_scene(0, split="test")
    draw = np.random.default_rng(0)
    assert with_image_only_concepts(scene, draw, share=0.0) == scene
    changed = with_image_only_concepts(scene, draw, share=1.0)
    assert changed.things[0].shape in world.IMAGE_ONLY_SHAPES
    assert changed.style in world.IMAGE_ONLY_STYLES


@pytest.mark.slow
def test_parts_are_made_when_needed_and_only_once(tiny_system: LaVie, tmp_path: Path) -> None:
    source = WorldSource(count=2 * PART + 3, kind="image", num_frames=1, height=16, width=24)
    codec = LatentCodec(tiny_system.vae)
    first = LatentCache(tmp_path, source, codec, processes=2)
    assert not list(first.folder.iterdir())
    last = first.latents([2 * PART + 2])
    assert sorted(path.name for path in first.folder.glob("*.npy")) == ["latents_00002.npy"]
    video = to_floats(source.clip(2 * PART + 2)[0])[None]
    with torch.inference_mode():
        torch.testing.assert_close(last, codec.encode(video), atol=2e-3, rtol=2e-3)
    made = (first.folder / "latents_00002.npy").stat().st_mtime_ns
    again = LatentCache(tmp_path, source, codec, processes=1)
    assert torch.equal(again.latents([2 * PART + 2]), last)
    assert again.captions(2 * PART + 2) == source.clip(2 * PART + 2)[1]
    assert (first.folder / "latents_00002.npy").stat().st_mtime_ns == made


@pytest.mark.slow
def test_processes_change_nothing(tiny_system: LaVie, tmp_path: Path) -> None:
    source = WorldSource(count=PART + 2, kind="video", num_frames=2, height=16, width=24)
    codec = LatentCodec(tiny_system.vae)
    alone = LatentCache(tmp_path / "a", source, codec, processes=1)
    together = LatentCache(tmp_path / "b", source, codec, processes=2)
    picked = [PART + 1, 0, 5]
    assert torch.equal(alone.latents(picked), together.latents(picked))
    assert together.captions(5) == alone.captions(5)


def test_a_cache_of_another_codec_is_another(tiny_system: LaVie, tmp_path: Path) -> None:
    source = WorldSource(count=2, kind="image", num_frames=1, height=16, width=24)
    codec = LatentCodec(tiny_system.vae)
    mine = LatentCache(tmp_path, source, codec, processes=1)
    codec.scale *= 2
    assert LatentCache(tmp_path, source, codec, processes=1).folder != mine.folder


def test_every_fourth_batch_is_of_the_other_kind_and_none_is_left_out() -> None:
    batches = every_fourth(
        lambda number: Batch(captions=(f"still {number}",)),
        lambda number: Batch(captions=(f"clip {number}",)),
    )
    assert [batches(number).captions[0] for number in range(8)] == [
        *("clip 0", "clip 1", "clip 2", "still 0", "clip 3", "clip 4", "clip 5", "still 1"),
    ]


def test_batches_say_which_cells_show_a_thing(caches: list[LatentCache]) -> None:
    clips, stills = caches
    batch = JointBatches(clips, stills, batch_size=2, images_per_clip=3, seed=1)(0)
    things, image_things = batch.labels["things"], batch.labels["image_things"]
    assert batch.latents is not None
    assert batch.image_latents is not None
    assert things.shape == (2, *batch.latents.shape[2:])
    assert image_things.shape == (2, *batch.image_latents.shape[2:])
    assert things.any(dim=(2, 3)).float().mean() > 0.9
    assert float(things.float().mean()) < 0.5
    members = shuffled(11, 6, 0, seed=2)
    for place, member in enumerate(members):
        truth = stills.source.things(member, (image_things.shape[-2], image_things.shape[-1]))
        assert truth is not None
        assert image_things[divmod(place, 3)].tolist() == truth[0].tolist()


@pytest.mark.slow
def test_things_lie_where_they_are_drawn() -> None:
    """Cells said to show a thing differ from the same scene without it; most others do not."""
    source = WorldSource(count=8, kind="image", num_frames=1, height=80, width=128)
    for index in range(8):
        scene = source.scene(index)
        bare = replace(scene, things=())
        change = np.abs(
            source.clip(index)[0].astype(int)
            - render(bare, num_frames=1, fps=8.0, height=80, width=128)
        ).max(axis=(0, 3))
        changed = change.reshape(10, 8, 16, 8).max(axis=(1, 3)) > 24
        things = source.things(index, (10, 16))[0]
        assert changed[things].mean() > 0.8
        assert changed[~things].mean() < 0.3


def test_pieces_hold_a_thing_and_fit_their_clip(caches: list[LatentCache]) -> None:
    whole = LatentBatches(caches[1], batch_size=4, seed=3)
    pieces = PieceBatches(whole, side=2, seed=1)
    for number in range(6):
        piece, frame = pieces(number), whole(number)
        assert piece.captions == frame.captions
        assert piece.latents is not None
        assert frame.latents is not None
        assert piece.latents.shape == (4, 4, 1, 2, 2)
        assert pieces(number).latents is not None
        assert torch.equal(piece.latents, pieces(number).latents)  # type: ignore[arg-type]
        for row in range(4):
            if frame.labels["things"][row].any():
                assert piece.labels["things"][row].any()
            height, width = frame.latents.shape[-2:]
            found = [
                torch.equal(frame.latents[row, ..., y : y + 2, x : x + 2], piece.latents[row])
                for y in range(height - 1)
                for x in range(width - 1)
            ]
            assert any(found)


def test_pieces_of_footage_lie_anywhere() -> None:
    latents = torch.arange(60.0).reshape(1, 1, 1, 6, 10).expand(5, 1, 1, 6, 10)
    footage = Batch(captions=("a",) * 5, latents=latents)
    batch = PieceBatches(lambda _: footage, side=4, seed=0)(0)
    assert batch.labels == {}
    assert batch.latents is not None
    assert batch.latents.shape == (5, 1, 1, 4, 4)
    assert len(batch.latents.flatten(1).unique(dim=0)) > 1


def test_sparse_batches_leave_frames_out_and_say_so(caches: list[LatentCache]) -> None:
    clips, stills = caches
    whole = JointBatches(clips, stills, batch_size=2, images_per_clip=2, seed=1)
    sparse = SparseBatches(whole, stride=2, seed=1)
    firsts = set()
    for number in range(8):
        batch, full = sparse(number), whole(number)
        assert batch.latents is not None
        assert full.latents is not None
        assert (batch.frame_stride, full.frame_stride) == (2, 1)
        first = int(not torch.equal(batch.latents, full.latents[:, :, ::2]))
        firsts.add(first)
        assert batch.first_frame == first
        assert torch.equal(batch.latents, full.latents[:, :, first::2])
        assert torch.equal(batch.labels["things"], full.labels["things"][:, first::2])
        assert torch.equal(batch.labels["image_things"], full.labels["image_things"])
        assert batch.image_captions == full.image_captions
        assert batch.captions == full.captions
    assert firsts == {0, 1}


def test_pieces_of_a_still_are_cut_from_it_the_first_around_a_thing() -> None:
    batches = CropBatches(batch_size=8, height=24, width=32, each=4, seed=5 * 10**9)
    (seed, other), video = (5 * 10**9 + 6, 5 * 10**9 + 7), batches(3).video
    assert video is not None
    assert video.shape == (8, 3, 1, 24, 32)
    for start, number in ((0, seed), (4, other)):
        scene = draw_scene(number, split="train", kind="image")
        still = to_floats(render(scene, num_frames=1))
        places = [places_of(piece[:, 0], still[:, 0]) for piece in video[start : start + 4]]
        assert all(places)
        middles = [
            (80 * thing.y - top, 80 * thing.x - left)
            for top, left in places[0]
            for thing in scene.things
        ]
        # Where the piece would leave the frame it is moved in, and the thing to its side.
        assert any(-1 <= y <= 24 and -1 <= x <= 32 for y, x in middles)
        assert len({min(found) for found in places}) > 1


def places_of(piece: torch.Tensor, still: torch.Tensor) -> list[tuple[int, int]]:
    """Where a piece (3 h w) can have been cut from a still (3 H W)."""
    height, width = piece.shape[1:]
    rows, columns = still.shape[1] - height + 1, still.shape[2] - width + 1
    corners = (still[:, :rows, :columns] == piece[:, :1, :1]).all(dim=0).nonzero().tolist()
    return [
        (y, x) for y, x in corners if torch.equal(still[:, y : y + height, x : x + width], piece)
    ]


def test_a_batch_holds_whole_stills() -> None:
    with pytest.raises(RequestError, match=r"a batch of 6 cannot hold 4 pieces of every still"):
        CropBatches(batch_size=6, height=24, width=32, each=4)
