"""Teaching a word: pictures become a LoRA, resumably, with all layers over time as they were."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from mutoscope.encoding.text import train_tokenizer
from mutoscope.errors import Cancelled, RequestError, TrainingError
from mutoscope.nn.temporal import is_temporal
from mutoscope.recipes.personal import personal, personalize, picture_source, task_for
from mutoscope.stages.new_word import NewWord
from mutoscope.systems import load
from mutoscope.systems.lavie import LaVie
from mutoscope.training.trainer import train
from mutoscope.types import Batch, Loss, Size
from mutoscope.world.concept import unseen_scene
from mutoscope.world.factors import SHAPES
from mutoscope.world.grammar import VOCABULARY
from mutoscope.world.render import render
from tests.tiny import build_tiny_system

WEIGHTS = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of a thing that no split of the world has."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        frames = render(unseen_scene(seed), num_frames=1, height=20, width=32)
        Image.fromarray(frames[0]).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def taught(
    pictures: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, float]]:
    """What an uninterrupted run of 30 steps leaves and says."""
    out = tmp_path_factory.mktemp("taught") / "zorb"
    notices: list[str] = []
    found = personalize(
        pictures, "zorb", out, model=str(tiny_folder), steps=30, notice=notices.append
    )
    assert [text.split(",")[0] for text in notices] == ["this model is not of the built-in world"]
    return out, found


@pytest.mark.slow
def test_it_learns_the_pictures(taught: tuple[Path, dict[str, float]]) -> None:
    out, found = taught
    assert found["own"] < 0.97 * found["own_untouched"]
    names = {path.name for path in out.iterdir()}
    assert names == {WEIGHTS, "learned_embeds.safetensors", "provenance.json", "metrics.jsonl"}
    assert list(out.parent.iterdir()) == [out]
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 31), 30]


@pytest.mark.slow
def test_layers_over_time_are_untouched_bit_for_bit(
    taught: tuple[Path, dict[str, float]], tiny_folder: Path
) -> None:
    before = load(tiny_folder).base.state_dict()
    after = load(tiny_folder).load_lora(taught[0]).base.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert any(is_temporal(name) for name in before)
    assert not any(is_temporal(name) for name in changed)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    taught: tuple[Path, dict[str, float]],
    pictures: Path,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = NewWord.loss, []

    def interrupted(self: NewWord, batch: Batch, generator: torch.Generator) -> Loss:
        calls.append(batch)
        if len(calls) == 20:  # of which eight are the figures of the untouched model
            signal.raise_signal(signal.SIGINT)
        return real(self, batch, generator)

    def again() -> dict[str, float]:
        out = tmp_path / "zorb"
        return personalize(pictures, "zorb", out, model=str(tiny_folder), steps=30, notice=list)

    with monkeypatch.context() as patch:
        patch.setattr(NewWord, "loss", interrupted)
        with pytest.raises(Cancelled, match="stopped after step 12, which is saved"):
            again()
    assert not (tmp_path / "zorb").exists()
    out, found = taught
    assert again() == found
    for name in (WEIGHTS, "learned_embeds.safetensors"):
        ours, theirs = load_file(out / name), load_file(tmp_path / "zorb" / name)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours | theirs)
    assert list(tmp_path.iterdir()) == [tmp_path / "zorb"]


@pytest.mark.slow
def test_other_pictures_are_not_gone_on_with(
    pictures: Path, tiny_system: LaVie, tiny_folder: Path, tmp_path: Path
) -> None:
    source = picture_source(pictures, "zorb", Size(16, 24))
    task = task_for(tiny_system, str(tiny_folder), "zorb", source)
    assert task.like == ()  # what a model of free text calls its things nobody knows
    train(personal(task, 1), tmp_path, data=pictures)
    with pytest.raises(TrainingError, match="another recipe"):
        train(personal(replace(task, pictures="others"), 1), tmp_path, data=pictures)


@pytest.mark.slow
def test_a_model_of_the_world_is_shown_its_other_pictures_too(
    pictures: Path, tmp_path: Path
) -> None:
    system = build_tiny_system()
    tokenizer = train_tokenizer([" ".join(VOCABULARY)] * 4, vocabulary_size=1000)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 77}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CLIPTextConfig(**(system.text_encoder.config.to_dict() | sizes))
        reader = CLIPTextModel(config)
    system.register_modules(tokenizer=tokenizer, text_encoder=reader)
    system.register_to_config(vocabulary=list(VOCABULARY))
    system.save_pretrained(tmp_path / "model")
    source = picture_source(pictures, "orb", Size(16, 24))
    task = task_for(system, str(tmp_path / "model"), "orb", source)
    assert (task.batch_size, task.others, task.like) == (6, 2, SHAPES)
    assert task_for(system, "model", "orb", source, ["star"]).like == ("star",)
    (tmp_path / "work").mkdir()
    run = task.prepare({}, pictures, "cpu", tmp_path / "work")
    batch = run.batches(0)
    assert batch.labels["own"].tolist() == [True] * 6 + [False] * 2
    assert all("orb" in text for text in batch.captions[:6])
    assert not any("orb" in text for text in batch.captions[6:])
    assert batch.latents is not None
    assert batch.latents.shape == (8, 4, 1, 8, 12)
    assert run.evaluate is not None
    found = run.evaluate(run.objective.modules(), 0, tmp_path)
    # The changes are zero at first: other captions, in which the word is not, mean what they did.
    assert found["others"] == pytest.approx(found["others_untouched"], rel=1e-5)
    assert found["own"] != found["own_untouched"]


def test_captions_have_the_article_that_the_word_wants(pictures: Path) -> None:
    expected: dict[str, Callable[[str], bool]] = {
        "zorb": lambda text: "a zorb" in text or "the zorb" in text,
        "orb": lambda text: "an orb" in text or "the orb" in text,
    }
    for word, fits in expected.items():
        assert all(map(fits, picture_source(pictures, word, Size(16, 24)).texts))


def test_a_model_that_draws_nothing_from_words_is_refused(
    pictures: Path, tiny_cascade: LaVie, tmp_path: Path
) -> None:
    LaVie(**dict(tiny_cascade.components) | {"base": None}).save_pretrained(tmp_path / "model")
    with pytest.raises(RequestError, match="no network that draws from words"):
        personalize(pictures, "zorb", tmp_path / "zorb", model=str(tmp_path / "model"))
