"""The task of telling true clips from own ones: what is drawn, kept, paired and left."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator
from transformers import CLIPTextConfig, CLIPTextModel

from mutoscope.diffusion.guidance import Unguided
from mutoscope.encoding.text import train_tokenizer
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.discriminative import DiscriminativeTask, DrawnClips, PairBatches
from mutoscope.recipes.first_frame import told_first_frames
from mutoscope.recipes.tasks import AutoencoderTask, DenoiserTask
from mutoscope.stages.discriminative import OWN, Discriminative
from mutoscope.systems.lavie import LaVie
from mutoscope.training.initialise import from_seed
from mutoscope.types import Latents
from mutoscope.world.grammar import VOCABULARY

pytestmark = pytest.mark.slow

TASK = DiscriminativeTask(drawn=10, steps=2, batch_size=2, samples=1)


@pytest.fixture(scope="module")
def parents(tiny_system: LaVie, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as the runs before leave them, of small networks with their first weights."""
    folder = tmp_path_factory.mktemp("parents")
    vae = from_seed(0, AutoencoderTask(widths=(16, 16), latent_channels=4).network)
    vae.save_pretrained(folder / "autoencoder" / "vae")
    tokenizer = train_tokenizer([" ".join(VOCABULARY)] * 4, vocabulary_size=1000)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 77}
    config = CLIPTextConfig(**tiny_system.text_encoder.config.to_dict() | sizes)
    reader = from_seed(2, lambda: CLIPTextModel(config))
    reader.save_pretrained(folder / "words" / "text_encoder")
    tokenizer.save_pretrained(folder / "words" / "tokenizer")
    base = DenoiserTask(widths=(16, 32, 32), heads=(1, 1, 1))
    network = from_seed(1, lambda: base.network(channels=4, text_width=32, temporal=True))
    told_first_frames(network).save_pretrained(folder / "first_frame" / "base")
    return {name: folder / name for name in ("autoencoder", "words", "first_frame")}


def test_it_begins_as_what_drew_and_leaves_a_base_that_is_told_first_frames(
    parents: dict[str, Path], tmp_path: Path
) -> None:
    run = TASK.prepare(parents, None, "cpu", tmp_path / "work")
    stage = run.objective
    assert isinstance(stage, Discriminative)
    start = VideoUNet.from_pretrained(parents["first_frame"] / "base").state_dict()
    for network in (stage.network, stage.before.network):
        assert all(torch.equal(each, start[n]) for n, each in network.state_dict().items())
    trained = [each.requires_grad for each in stage.network.parameters()]
    assert all(trained)
    run.export(stage.modules(), tmp_path / "model")
    again = VideoUNet.from_pretrained(tmp_path / "model" / "base").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in start.items())


def test_each_true_clip_comes_with_one_drawn_under_its_caption(
    parents: dict[str, Path], tmp_path: Path
) -> None:
    run = TASK.prepare(parents, None, "cpu", tmp_path)
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
    parents: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(TASK, drawn=2)
    first = task.prepare(parents, None, "cpu", tmp_path).batches(0)

    def refuse(self: DrawnClips, numbers: range) -> Latents:
        raise AssertionError("it was drawn again")

    monkeypatch.setattr(DrawnClips, "_draw", refuse)
    again = task.prepare(parents, None, "cpu", tmp_path).batches(0)
    assert torch.equal(first.labels[OWN], again.labels[OWN])
    with pytest.raises(AssertionError, match="drawn again"):
        task.prepare(parents, None, "cpu", tmp_path / "elsewhere").batches(0)
