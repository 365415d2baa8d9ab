"""What the runs of the readers train: the oracle, which reads videos, and the text encoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from mutoscope.data.batches import AlikeBatches, RenderedBatches, every_fourth
from mutoscope.data.sources import ClipSource, FolderSource, WorldSource
from mutoscope.encoding.text import Contrast, LockedContrast, TextEncoder, train_tokenizer
from mutoscope.errors import DataError
from mutoscope.metrics.oracle import Oracle, OracleReading
from mutoscope.recipes.parents import footage_stills, latent_cache, load_reader, load_text, save
from mutoscope.recipes.samples import SIZE, Evaluate, FoundSamples, OracleSamples, TextSamples
from mutoscope.training.recipe import Run
from mutoscope.types import Batch
from mutoscope.world.factors import LEVELS
from mutoscope.world.grammar import caption
from mutoscope.world.labels import labels
from mutoscope.world.scene import draw_scene

ATTENTION = "eager"  # in bf16 on a CPU twice as fast as the fused one


@dataclass(frozen=True, kw_only=True)
class OracleTask:
    """Trains the oracle on renders of every combination and concept.

    Attributes:
        widths: Channels of its trunk.
        batch_size: Clips a batch.
        seed: Of the range of scenes.
        samples: Test clips of an evaluation.
    """

    widths: tuple[int, int, int] = (48, 96, 128)
    batch_size: int = 16
    seed: int = 2
    samples: int = field(default=256, compare=False)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        oracle = Oracle(self.widths).to(device)
        clips = RenderedBatches(
            batch_size=self.batch_size,
            num_frames=8,
            fps=4.0,
            stills_every=3,
            stills=8 * self.batch_size,
            all_concepts=True,
            seed=self.seed * 10**9,
        )
        return Run(
            objective=OracleReading(oracle),
            batches=clips,
            evaluate=OracleSamples(self.samples),
            export=lambda modules, folder: save(modules["oracle"], folder / "oracle"),
        )


@dataclass(frozen=True, kw_only=True)
class TextTask:
    """Trains a tokenizer on the grammar, and a CLIP text encoder on what the oracle sees in clips.

    With a parent "text", an earlier run of it, both are taken from there, and training goes on. Of
    the user's videos, both learn the captions, and what the oracle, which only ever saw the world,
    sees in the clips.

    Attributes:
        width, layers, heads: Of the text encoder.
        max_tokens: Longest prompt.
        vocabulary_size: Tokens.
        captions: Captions that the tokenizer is trained on.
        clips, stills: Clips and stills of the world, each with six captions.
        batch_size: Pairs a batch.
        seed: Of the range of scenes and of the order.
        samples: Test clips of an evaluation.
        probes: Captions that its linear probes are fitted and tried on.
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    max_tokens: int = 77
    vocabulary_size: int = 1024
    captions: int = 30_000
    clips: int = 12_000
    stills: int = 6_000
    batch_size: int = 128
    seed: int = 3
    samples: int = field(default=256, compare=False)
    probes: int = field(default=12_000, compare=False)

    def tokenizer(self, own: ClipSource | None) -> PreTrainedTokenizerFast:
        """The tokenizer, of the captions of one's own clips or of clips and stills of the world."""
        if own is not None:
            captions = (text for number in range(len(own)) for text in own.clip(number)[1])
            return train_tokenizer(captions, vocabulary_size=self.vocabulary_size)
        half = range(self.captions // 2)
        scenes = (draw_scene(seed, split="train", kind="video") for seed in half)
        stills = (draw_scene(seed, split="train", kind="image") for seed in half)
        texts = (
            caption(scene, level=LEVELS[scene.seed % len(LEVELS)], seed=scene.seed)
            for source in (scenes, stills)
            for scene in source
        )
        return train_tokenizer(texts, vocabulary_size=self.vocabulary_size)

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        oracle = load_reader(parents["oracle"], device)
        own = None
        if data is not None:
            own = FolderSource(folder=data, num_frames=8, fps=4.0, size=SIZE)
        if "text" in parents:
            start = load_text(parents["text"], device)
            tokenizer, model = start.tokenizer, start.model.train().requires_grad_(True)
            model.set_attn_implementation(ATTENTION)
        else:
            tokenizer = self.tokenizer(own)
            model = self._network(tokenizer).to(device)
        text = TextEncoder(model, tokenizer)
        # After the encoder: first weights are drawn in the order in which modules are made, and
        # the recorded losses are those of this order.
        head = Contrast(self.width, oracle.features, 128)
        if "text" in parents:
            head.load_state_dict(load_file(parents["text"] / "contrast.safetensors"))
        evaluate: Evaluate = TextSamples(tokenizer, oracle, self.samples, self.probes)
        if own is None:
            batches = self._of_world(oracle, work)
        else:
            assert data is not None
            stills = self._of(footage_stills(data, SIZE), oracle, work)
            clips = self._of(own, oracle, work)
            batches = every_fourth(stills, clips)
            few = range(min(self.samples, len(own)))
            features = clips.cache.latents(few).flatten(1)
            captions = tuple(clips.cache.captions(number)[0] for number in few)
            evaluate = FoundSamples(tokenizer, features, captions)

        def export(modules: Mapping[str, nn.Module], folder: Path) -> None:
            save(modules["text_encoder"], folder / "text_encoder")
            tokenizer.save_pretrained(folder / "tokenizer")
            save_file(modules["head"].state_dict(), folder / "contrast.safetensors")

        return Run(
            objective=LockedContrast(text, head.to(device)),
            batches=batches,
            evaluate=evaluate,
            export=export,
            of_data=True,
        )

    def _of(self, source: FolderSource, oracle: Oracle, work: Path) -> AlikeBatches:
        """Batches of the user's clips; nobody knows which are alike.

        Raises:
            DataError: There are too few to tell one from another.
        """
        if len(source) < 2:
            raise DataError(
                f"{source.folder} gives one clip of {source.num_frames / source.fps:g} s, and a "
                "text encoder learns from what tells clips apart. Use more or longer videos."
            )
        alike = np.zeros((1, len(source)), np.int64)
        count = min(self.batch_size, len(source))
        return AlikeBatches(latent_cache(source, oracle, work), alike, count, self.seed)

    def _of_world(self, oracle: Oracle, work: Path) -> Callable[[int], Batch]:
        first = self.seed * 10**9
        clips = self._alike(
            WorldSource(count=self.clips, kind="video", num_frames=8, fps=4.0, first_seed=first),
            oracle,
            work,
        )
        stills = self._alike(
            WorldSource(count=self.stills, kind="image", num_frames=1, first_seed=first),
            oracle,
            work,
        )
        return every_fourth(stills, clips)

    def _alike(self, source: WorldSource, oracle: Oracle, work: Path) -> AlikeBatches:
        """Batches of clips of any kind, and such with two of background, colour, shape alike."""
        truth = labels([source.scene(number) for number in range(len(source))])
        background, colour, shape = (
            truth["background"],
            truth["colour"][:, 0],
            truth["shape"][:, 0],
        )
        pairs = ((background, colour), (colour, shape), (shape, background))
        alike = [np.zeros_like(background), *(16 * one + other for one, other in pairs)]
        cache = latent_cache(source, oracle, work)
        return AlikeBatches(cache, np.stack(alike), self.batch_size, self.seed)

    def _network(self, tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
        return CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=self.width,
                intermediate_size=4 * self.width,
                projection_dim=self.width,
                num_hidden_layers=self.layers,
                num_attention_heads=self.heads,
                max_position_embeddings=self.max_tokens,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                attn_implementation=ATTENTION,
            )
        )
