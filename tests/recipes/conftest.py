"""What runs of the chain find where they begin: small models, with their first weights."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mutoscope.systems.lavie import LaVie


@pytest.fixture(scope="module")
def parents(tiny_system: "LaVie", tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as the runs of autoencoder, text encoder and base leave them."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from mutoscope.encoding.text import train_tokenizer
    from mutoscope.recipes.tasks import AutoencoderTask, DenoiserTask
    from mutoscope.training.initialise import from_seed
    from mutoscope.world.grammar import VOCABULARY

    folder = tmp_path_factory.mktemp("parents")
    vae = from_seed(0, AutoencoderTask(widths=(16, 16), latent_channels=4).network)
    vae.save_pretrained(folder / "autoencoder" / "vae")
    tokenizer = train_tokenizer([" ".join(VOCABULARY)] * 4, vocabulary_size=1000)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 77}
    config = CLIPTextConfig(**tiny_system.text_encoder.config.to_dict() | sizes)
    reader = from_seed(2, lambda: CLIPTextModel(config))
    reader.save_pretrained(folder / "words" / "text_encoder")
    tokenizer.save_pretrained(folder / "words" / "tokenizer")
    task = DenoiserTask(widths=(16, 32, 32), heads=(1, 1, 1))
    network = from_seed(1, lambda: task.network(channels=4, text_width=32, temporal=True))
    network.save_pretrained(folder / "base" / "base")
    return {name: folder / name for name in ("autoencoder", "words", "base")}
