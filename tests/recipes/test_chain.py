"""The chain from nothing to a video model, in small: each recipe trains, exports and is shipped."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mutoscope.errors import RequestError, TrainingError
from mutoscope.nn.temporal import TemporalAttention, is_temporal
from mutoscope.recipes import claims, mini, own, samples, worth
from mutoscope.recipes.again import again, lacking, record_of
from mutoscope.recipes.curriculum import NewTimeTask
from mutoscope.recipes.first_frame import FirstFrameTask
from mutoscope.recipes.interpolation import InterpolationTask
from mutoscope.recipes.parents import load_unet
from mutoscope.recipes.readers import OracleTask, TextTask
from mutoscope.recipes.samples import scenes_of_one_concept
from mutoscope.recipes.ship import ship, unpack
from mutoscope.recipes.super_resolution import SuperResolutionTask
from mutoscope.recipes.tasks import AutoencoderTask, DenoiserTask
from mutoscope.systems.load import load
from mutoscope.training.optim import Schedule
from mutoscope.training.provenance import (
    Ancestor,
    file_hashes,
    read_provenance,
    verify_chain,
)
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import train
from mutoscope.video.files import write_video
from mutoscope.world.grammar import caption
from mutoscope.world.render import render
from mutoscope.world.scene import draw_scene

pytestmark = [pytest.mark.slow, pytest.mark.long]


def small(recipe: Recipe, task: object, parents: Mapping[str, Recipe]) -> Recipe:
    """The recipe with two steps of little data."""
    return replace(
        recipe,
        task=task,
        parents=tuple(parents[parent.name] for parent in recipe.parents),
        steps=2,
        schedule=Schedule(),
        evaluate_every=2,
        save_every=2,
    )


def small_chain() -> dict[str, Recipe]:
    recipes: dict[str, Recipe] = {}
    text = TextTask(
        width=32, layers=1, captions=200, clips=8, stills=8, batch_size=4, samples=4, probes=64
    )
    image = DenoiserTask(widths=(16, 32, 32), heads=(1, 1, 1), images=6, batch_size=2, samples=2)
    video = replace(image, clips=3)
    told = replace(video, frame_numbers=True)
    small_tasks = {
        "autoencoder": AutoencoderTask(batch_size=2, samples=2),
        "oracle": OracleTask(widths=(8, 16, 32), batch_size=2, samples=2),
        "text": text,
        "words": text,
        "image": image,
        "pieces": replace(image, thing_weight=5.0, piece=8),
        "joint": video,
        "even": video,
        "sparse": replace(video, thing_weight=3.0, stride=2),
        "lavie": video,
        "directed": replace(
            told, clips=6, images_per_clip=0, stride=4, lowest_time=900.0, directed=True
        ),
        "placed": replace(told, stride=4),
        "base": told,
        "video": replace(told, stride=2, thing_weight=2.0),
        "final": replace(told, stride=2, thing_weight=1.5),
        "first_frame": FirstFrameTask(
            widths=(16, 32, 32),
            heads=(1, 1, 1),
            images=6,
            clips=3,
            batch_size=2,
            samples=2,
            frame_numbers=True,
            later=2,
            later_clips=2,
        ),
        "interpolation": InterpolationTask(clips=3, batch_size=2, samples=1),
        "autoencoder4": AutoencoderTask(
            patch=4,
            widths=(16,),
            latent_channels=4,
            batch_size=2,
            frame=320,
            piece=(80, 80),
            attention=False,
            samples=1,
        ),
        "upscaler": SuperResolutionTask(
            widths=(16, 16, 32), heads=(1, 1, 1), clips=3, batch_size=2, samples=1
        ),
        "super_resolution": SuperResolutionTask(
            widths=(16, 16, 32),
            heads=(1, 1, 1),
            num_frames=4,
            most_known=2,
            clips=2,
            batch_size=2,
            trained="temporal",
            samples=1,
        ),
    }
    for name, task in small_tasks.items():
        recipes[name] = small(getattr(mini, name)(), task, recipes)
    return recipes


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole chain, trained for two steps each."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = small_chain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "STEPS", 2)  # nobody looks at what untrained networks draw
        patch.setattr(worth, "DIRECTED", 1)
        train(recipes["first_frame"], folder)
        train(recipes["interpolation"], folder)
        train(recipes["super_resolution"], folder)
    return folder


def test_every_run_leaves_samples_figures_and_provenance(runs: Path) -> None:
    for name in small_chain():
        provenance = read_provenance(runs / name / "model")
        assert provenance.steps == 2
        assert len(provenance.first_losses) == 2
        assert list((runs / name / "samples").iterdir())
    assert (runs / "final" / "samples" / "step_00000002" / "test.png").is_file()
    assert (runs / "interpolation" / "samples" / "step_00000002" / "between.png").is_file()
    folders = {name: runs / name / "model" for name in small_chain()}
    for last in ("first_frame", "interpolation", "super_resolution"):
        verify_chain(small_chain()[last], folders)


def test_every_recipe_begins_again_as_it_began(runs: Path) -> None:
    for recipe in small_chain()["first_frame"].chain():
        assert not lacking(recipe, runs)
        found = again(recipe, runs, steps=2)
        assert found.difference < 1e-5
        assert found.steps == 2
        assert found.seconds > 0


def test_what_a_recipe_cannot_begin_again_without_is_named(tmp_path: Path) -> None:
    for name in ("autoencoder", "base"):
        (tmp_path / name / "model").mkdir(parents=True)
    assert lacking(mini.video(), tmp_path) == ["words"]


def test_what_a_run_recorded_is_shipped_where_the_run_is_not_there(
    runs: Path, tmp_path: Path
) -> None:
    small = small_chain()["image"]
    assert record_of(small, runs).hash == small.hash()
    shipped = record_of(mini.image(), tmp_path)
    assert shipped.hash == mini.image().hash()
    assert len(shipped.first_losses) == 50
    with pytest.raises(TrainingError, match=r"elsewhere\.json does not say"):
        record_of(replace(small, name="elsewhere"), tmp_path)


def test_the_last_run_starts_from_the_one_before(runs: Path) -> None:
    task = small_chain()["lavie"].task
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "sparse")}
    network = task.prepare(parents, None, "cpu", runs / "work").objective.modules()["network"]
    file = runs / "sparse" / "model" / "base" / "diffusion_pytorch_model.safetensors"
    for name, weight in load_file(file).items():
        assert torch.equal(network.state_dict()[name], weight)


def test_three_of_four_batches_leave_frames_out(runs: Path) -> None:
    task = small_chain()["sparse"].task
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "even")}
    run = task.prepare(parents, None, "cpu", runs / "work")
    shapes = []
    for number in range(4):
        batch = run.batches(number)
        assert batch.latents is not None
        assert batch.image_latents is not None
        clips, frames, images = (
            len(batch.latents),
            batch.latents.shape[2],
            batch.image_latents.shape[2],
        )
        shapes.append((clips, frames, images, batch.frame_stride))
    assert shapes == [(4, 8, 2, 2)] * 3 + [(2, 16, 4, 1)]


def test_the_last_text_encoder_starts_from_the_first(runs: Path) -> None:
    task = small_chain()["words"].task
    parents = {name: runs / name / "model" for name in ("oracle", "text")}
    modules = task.prepare(parents, None, "cpu", runs / "work").objective.modules()
    for name, folder in (("text_encoder", "text_encoder/model"), ("head", "contrast")):
        start = load_file(runs / "text" / "model" / f"{folder}.safetensors")
        ours = modules[name].state_dict()
        assert all(torch.equal(ours[key], value) for key, value in start.items())
        assert all(weight.requires_grad for weight in modules[name].parameters())


def test_pieces_go_on_from_the_image_model_in_pieces_and_whole(runs: Path) -> None:
    task = small_chain()["pieces"].task
    parents = {name: runs / name / "model" for name in ("autoencoder", "text", "image")}
    run = task.prepare(parents, None, "cpu", runs / "work")
    start = load_file(runs / "image" / "model" / "base" / "diffusion_pytorch_model.safetensors")
    weights = run.objective.modules()["network"].state_dict()
    assert all(torch.equal(weights[name], value) for name, value in start.items())
    latents = [run.batches(number).latents for number in range(4)]
    shapes = [None if each is None else tuple(each.shape[-2:]) for each in latents]
    assert shapes == [(8, 8)] * 3 + [(10, 16)]


def test_a_model_that_is_told_numbers_starts_as_the_one_that_is_not(runs: Path) -> None:
    task = small_chain()["directed"].task
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "lavie")}
    network = task.prepare(parents, None, "cpu", runs / "work").objective.modules()["network"]
    start = load_unet(runs / "lavie" / "model")
    draw = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, start.config["in_channels"], 4, 10, 16, generator=draw)
    text = torch.randn(1, 5, start.config["cross_attention_dim"], generator=draw)
    with torch.inference_mode():
        told = [each(noisy, torch.tensor([900.0]), text) for each in (start, network.eval())]
    torch.testing.assert_close(*told, atol=1e-6, rtol=0)  # some processors round otherwise
    new = network.state_dict().keys() - start.state_dict().keys()
    assert new
    assert all(network.get_parameter(name).requires_grad for name in new)


def test_the_simpler_source_shows_things_that_go_one_way_and_tells_all(runs: Path) -> None:
    task = small_chain()["directed"].task
    assert isinstance(task, DenoiserTask)
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "lavie")}
    run = task.prepare(parents, None, "cpu", runs / "work")
    scenes = [draw_scene(6 * 10**9 + i, split="train", kind="video") for i in range(task.clips)]
    one_way = [
        scene.arrangement == "single"
        and scene.things[0].motion not in ("bounce", "orbit", "spin", "still")
        for scene in scenes
    ]
    assert 0 < sum(one_way) < task.clips
    allowed = {
        caption(scene, level="full", seed=6 * 10**9 + number)
        for scene, shown in zip(scenes, one_way, strict=True)
        if shown
        for number in range(2, 6, 3)
    }
    told = {text for number in range(4) for text in run.batches(number).captions}
    assert told
    assert told <= allowed


def test_the_video_model_starts_from_the_image_model(runs: Path) -> None:
    task = small_chain()["joint"].task
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "pieces")}
    run = task.prepare(parents, None, "cpu", runs / "work")
    network = run.objective.modules()["network"]
    with safe_open(
        runs / "pieces" / "model" / "base" / "diffusion_pytorch_model.safetensors", "pt"
    ) as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            torch.testing.assert_close(network.state_dict()[name], file.get_tensor(name))
    batch = run.batches(0)
    assert batch.latents is not None
    assert batch.image_latents is not None
    assert (batch.latents.shape[2], batch.image_latents.shape[2]) == (16, 4)


def test_the_interpolation_starts_from_the_video_model_and_sees_windows(runs: Path) -> None:
    task = small_chain()["interpolation"].task
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "final")}
    run = task.prepare(parents, None, "cpu", runs / "work")
    weights = run.objective.modules()["network"].state_dict()
    base = load_file(runs / "final" / "model" / "base" / "diffusion_pytorch_model.safetensors")
    assert weights.keys() == base.keys()
    channels = base["conv_in.weight"].shape[1]
    assert not weights["conv_in.weight"][:, channels:].any()
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :channels]
    for name, tensor in base.items():
        torch.testing.assert_close(weights[name], tensor)
    latents = [run.batches(number).latents for number in range(4)]
    shapes = [None if each is None else each.shape for each in latents]
    assert shapes == [(2, channels, 17, 8, 12)] * 3 + [(1, channels, 61, 8, 12)]
    figures = [
        json.loads(line)["evaluation"]
        for line in (runs / "interpolation" / "metrics.jsonl").read_text().splitlines()
        if "evaluation" in line
    ]
    assert set(figures[0]) == {
        f"{way}_{region}_psnr_db"
        for way in ("interpolated", "repeated", "blended")
        for region in ("moving", "fast")
    }
    assert all(math.isfinite(value) for value in figures[0].values())


def test_the_super_resolution_starts_from_the_upscaler_and_trains_layers_over_time(
    runs: Path,
) -> None:
    task = small_chain()["super_resolution"].task
    names = ("autoencoder4", "words", "upscaler")
    parents = {name: runs / name / "model" for name in names}
    run = task.prepare(parents, None, "cpu", runs / "work")
    network = run.objective.modules()["network"]
    start = load_file(runs / "upscaler/model/upscaler/diffusion_pytorch_model.safetensors")
    weights = dict(network.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in start.items())
    assert {name for name, weight in weights.items() if not weight.requires_grad} == set(start)
    for number in range(4):  # the last holds stills that seem filmed
        batch = run.batches(number)
        assert batch.latents is not None
        assert batch.video is not None
        assert batch.latents.shape == (2, 4, 4, 20, 20)
        assert batch.video.shape == (2, 3, 4, 20, 20)
        assert float(batch.video.abs().max()) <= 1
    metrics = (runs / "super_resolution" / "metrics.jsonl").read_text().splitlines()
    (figures,) = [json.loads(line)["evaluation"] for line in metrics if "evaluation" in line]
    ways = ("bicubic", "enlarged", "mean_of_4", "autoencoder")
    assert set(figures) == {f"{way}_psnr_db" for way in ways}
    assert all(math.isfinite(value) for value in figures.values())


def test_one_interpolates_ones_own_videos(runs: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    clip = render(draw_scene(0, split="train"), num_frames=61, fps=32.0)
    write_video(videos / "one.mp4", clip, 32.0, {})
    (videos / "one.txt").write_text("something that moves")
    task = small_chain()["interpolation"].task
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "final")}
    run = task.prepare(parents, videos, "cpu", tmp_path / "work")
    batch = run.batches(0)
    assert batch.latents is not None
    assert batch.latents.shape == (2, 16, 17, 8, 12)
    assert batch.captions == ("something that moves",) * 2
    assert run.evaluate is not None
    figures = run.evaluate(run.objective.modules(), 0, tmp_path)
    # The whole frame counts where it is not known what moves.
    assert figures["repeated_frame_psnr_db"] > 20
    assert (tmp_path / "between.png").is_file()


@pytest.mark.parametrize(("arm", "images"), [("joint", 4), ("video-only", 0), ("temporal-only", 0)])
def test_arms_of_the_forgetting_experiment_differ_as_they_say(
    runs: Path, arm: claims.Arm, images: int
) -> None:
    full = claims.forgetting(arm, 0, mini.final()).task
    assert isinstance(full, NewTimeTask)
    small = {"widths": (16, 32, 32), "heads": (1, 1, 1), "images": 6, "clips": 3, "batch_size": 2}
    task = replace(full, **small)
    parents = {name: runs / name / "model" for name in ("autoencoder", "words", "final")}
    run = task.prepare(parents, None, "cpu", runs / "work")
    batch = run.batches(0)
    assert (batch.image_latents is None) == (images == 0)
    network = run.objective.modules()["network"]
    frozen = [name for name, weight in network.named_parameters() if not weight.requires_grad]
    assert bool(frozen) == (arm == "temporal-only")
    # It starts as the image model inside the video model, whose own layers over time are gone.
    video = load_unet(parents["final"]).state_dict()
    for name, weight in network.state_dict().items():
        assert is_temporal(name) or torch.equal(weight, video[name])
    attention = [m for m in network.modules() if isinstance(m, TemporalAttention)]
    assert attention
    assert not any(layer.to_out[0].weight.any() for layer in attention)


def test_image_only_scenes_have_one_new_concept_each() -> None:
    for number, scene in enumerate(scenes_of_one_concept(60, "video")):
        new_shape = any(thing.shape in ("flower", "arrow") for thing in scene.things)
        assert (new_shape, scene.style != "none") == (number % 2 == 0, number % 2 == 1)
    for still in claims.as_stills(scenes_of_one_concept(60, "video")):
        assert still.kind == "image"


def test_shipped_weights_are_half_precision_name_their_recipe_and_run(
    runs: Path, tmp_path: Path
) -> None:
    ship(runs, tmp_path / "mini")
    recipes = small_chain()
    found = {}
    for path in (tmp_path / "mini").rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            assert file.get_tensor(next(iter(file.keys()))).dtype == torch.float16
        found[header["recipe"]] = header
        assert header["recipe_hash"] == recipes[header["recipe"]].hash()
        assert header["steps"] == "2"
    assert set(found) == {
        "autoencoder",
        "words",
        "oracle",
        "first_frame",
        "interpolation",
        "autoencoder4",
        "super_resolution",
    }
    system = load(tmp_path / "mini" / "lavie")  # what miniatures share lies beside it
    video = system("a red star drifts left over the sea", steps=2, num_frames=6)
    assert video.frames.shape == (1, 6, 320, 512, 3)
    assert video.fps == 32.0


def test_shipped_models_unpack_as_finished_runs(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = small_chain()
    for name, recipe in recipes.items():
        monkeypatch.setattr(mini, name, lambda recipe=recipe: recipe)
    ship(runs, tmp_path / "mini")
    unpack(tmp_path / "mini", tmp_path / "runs")
    names = ("autoencoder", "words", "interpolation")
    parents = {name: tmp_path / "runs" / name / "model" for name in names}
    before = {name: file_hashes(folder) for name, folder in parents.items()}
    own_recipe = small(own.interpolation(), recipes["interpolation"].task, recipes)
    # Of what it learns is no matter here.
    train(replace(own_recipe, needs_data=False), tmp_path / "runs")
    assert {name: file_hashes(folder) for name, folder in parents.items()} == before
    assert not (tmp_path / "runs" / "interpolation" / "checkpoints").exists()
    last = read_provenance(tmp_path / "runs" / "own_interpolation" / "model")
    assert last.parents["words"] == Ancestor(recipes["words"].hash(), 2)
    unpack(tmp_path / "mini", tmp_path / "runs")  # changes nothing
    assert {name: file_hashes(folder) for name, folder in parents.items()} == before
    ship(tmp_path / "runs", tmp_path / "own")
    shipped_one = tmp_path / "own" / "lavie" / "interpolator"
    with safe_open(shipped_one / "diffusion_pytorch_model.safetensors", "pt") as file:
        assert file.metadata()["recipe"] == "own_interpolation"
    assert str(tmp_path) not in (shipped_one / "config.json").read_text("utf-8")
    shutil.rmtree(tmp_path / "runs" / "own_interpolation")
    shipped = file_hashes(tmp_path / "mini")
    ship(tmp_path / "runs", tmp_path / "mini")
    # What was there is the same to the byte, however often it is unpacked and shipped again.
    again = file_hashes(tmp_path / "mini")
    assert again == shipped
    record = tmp_path / "runs" / "words" / "model" / "provenance.json"
    record.write_text(record.read_text().replace('"steps": 2', '"steps": 3'))
    with pytest.raises(RequestError, match="of another run than the one that is shipped"):
        unpack(tmp_path / "mini", tmp_path / "runs")
