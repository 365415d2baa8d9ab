"""A model is taught a word: a few pictures become a LoRA, in minutes (LaVie, 2309.15103 §5.6).

Command: `mutoscope personalize PICTURES --name zorb --out zorb`.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import TrainableTokensConfig, inject_adapter_in_model
from peft.tuners.trainable_tokens import TrainableTokensLayer
from torch import Generator, Tensor, nn

from mutoscope.data.batches import LatentBatches, OwnBatches
from mutoscope.data.cache import LatentCache
from mutoscope.data.sources import PictureSource, WorldSource
from mutoscope.diffusion.process import process_from
from mutoscope.diffusion.times import UniformTimes
from mutoscope.encoding.codec import LatentCodec
from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import RequestError
from mutoscope.nn.lora import add_lora, lora_layers
from mutoscope.nn.video_unet import VideoUNet
from mutoscope.recipes.parents import latent_cache
from mutoscope.stages.new_word import NewWord
from mutoscope.systems import System, load
from mutoscope.systems.lora import Lora, base_hash, write_lora
from mutoscope.training.optim import AdamW, Schedule
from mutoscope.training.recipe import Recipe, Run
from mutoscope.training.trainer import train
from mutoscope.types import Batch, Size
from mutoscope.video.atomic import check_place
from mutoscope.world.factors import SHAPES, Split
from mutoscope.world.grammar import VOCABULARY

STEPS = 1_200
# Of each picture.
_VARIANTS = 16
# Of an evaluation: pictures of each kind, and draws of noise for each.
_MOST, _DRAWS = 16, 8


@dataclass(frozen=True, kw_only=True)
class PersonalTask:
    """Teaches a model one word, from pictures in the folder that the run is given as its data.

    Attributes:
        word: The new word.
        base: Hash of the model's weights; see `base_hash`.
        model: Known name or folder of that model.
        pictures: Key of the pictures; see `PictureSource`.
        rank: Of the change of each layer.
        batch_size: Pictures a batch.
        others: Other pictures a batch, stills of the world with their captions; 0 for none.
        others_weight: See `NewWord`.
        like: Known words at whose mean the new one begins; empty for all that are known.
        time_shift: See `UniformTimes`.
        seed: Of the order of pictures.
    """

    word: str
    base: str
    model: str = field(compare=False)
    pictures: str
    rank: int = 16
    batch_size: int = 6
    others: int = 2
    others_weight: float = 1.0
    like: tuple[str, ...] = ()
    time_shift: float = 2.0
    seed: int = 7

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        assert data is not None
        system = load(self.model, device=device)
        codec, size = LatentCodec(system.vae), system.native_size
        text = TextEncoder(system.text_encoder, system.tokenizer, padded=system.config.padded_text)
        stage = NewWord(
            system.base,
            process_from(system.scheduler),
            text,
            others_weight=self.others_weight,
            times=UniformTimes(shift=self.time_shift),
        )
        source = picture_source(data, self.word, size)
        pictures = latent_cache(source, codec, work)
        taught = known = None
        if self.others:
            taught = latent_cache(_world(512, "train", size), codec, work)
            known = latent_cache(_world(_MOST, "test", size), codec, work)

        def batches(count: int, others: LatentCache | None, of_these: int) -> OwnBatches:
            own = LatentBatches(pictures, count, self.seed)
            return OwnBatches(
                own, None if others is None else LatentBatches(others, of_these, self.seed)
            )

        shown = batches(min(_MOST, len(source.pictures())), known, _MOST)(0).to(device)
        before = figures(stage, shown)
        _start_word(text, self.word, self.like)
        add_lora(system.base, rank=self.rank)

        def evaluate(modules: Mapping[str, nn.Module], step: int, folder: Path) -> dict[str, float]:
            untouched = {f"{name}_untouched": value for name, value in before.items()}
            return figures(stage, shown) | untouched

        return Run(
            objective=stage,
            batches=batches(self.batch_size, taught, self.others),
            evaluate=evaluate,
            export=self.export,
        )

    def export(self, modules: Mapping[str, nn.Module], folder: Path) -> None:
        """Writes what was learned, and for which weights."""
        network = modules["network"]
        assert isinstance(network, VideoUNet)
        layers = {f"unet.{name}": tensor for name, tensor in lora_layers(network).items()}
        vector = _word(modules["text_encoder"])
        write_lora(Lora(self.word, vector, layers, self.base, self.model, self.like), folder)


def task_for(
    system: System, model: str, word: str, pictures: PictureSource, like: Sequence[str] = ()
) -> PersonalTask:
    """What teaching a model a word takes; a model of the world is shown others of its stills too.

    Args:
        system: The model as `load` gives it.
        model: Its known name or folder.
        word: The new word.
        pictures: What it shall mean.
        like: See `PersonalTask`; where none is given a model of the world takes all its shapes, for
            what is new there is a shape. Without, the word moves as nothing does.
    """
    of_the_world = tuple(system.config.vocabulary) == VOCABULARY
    kin = tuple(like) or (SHAPES if of_the_world else ())
    return PersonalTask(
        word=word,
        base=base_hash(system),
        model=model,
        pictures=pictures.key(),
        like=kin,
        others=PersonalTask.others if of_the_world else 0,
    )


def personal(task: PersonalTask, steps: int) -> Recipe:
    """The run that teaches a model a word.

    Args:
        task: What is taught to what.
        steps: Of training, at least 1.
    """
    return Recipe(
        name="personal",
        task=task,
        steps=steps,
        # Vectors and low-rank changes are small as it is.
        optimizer=AdamW(lr=2e-3, weight_decay=0.0, words=5.0),
        schedule=Schedule(warmup=20, decay=0.5, shape="cosine"),
        ema=0.9,
        evaluate_every=100,
        save_every=100,
    )


def personalize(
    folder: Path,
    word: str,
    out: Path,
    *,
    model: str = "lavie-mini",
    like: Sequence[str] = (),
    steps: int = STEPS,
    device: str = "cpu",
    notice: Callable[[str], None] = print,
) -> dict[str, float]:
    """Teaches a model a word; a call that was stopped goes on when it is made again.

    Until it is done, everything lies in `out` with the ending `.unfinished`.

    Args:
        folder: Pictures of the new thing.
        word: What to call it.
        out: Folder to write, for `load_lora`; must not exist.
        model: Known name or folder of the model.
        like: Known words for things of the kind; see `task_for`.
        steps: Of training, at least 1.
        device: Where to train: "cpu" or "cuda".
        notice: Told, in a sentence, what will limit the result.

    Returns:
        The mean error on the pictures as "own", on others as "others", where there are any, and
        that of the untouched model as "own_untouched" and "others_untouched".

    Raises:
        RequestError: The model cannot be taught words, or not this one; or `out` exists or cannot
            be written.
        DataError: There are no pictures, or one cannot be read.
        ModelError: See `mutoscope.load`.
        TrainingError: See `mutoscope.training.trainer.train`.
    """
    if out.exists():
        raise RequestError(
            f"{out} exists already, and nothing is written over. Choose another --out, or delete "
            "it."
        )
    system = load(model)
    source = picture_source(folder, word, system.native_size)
    task = task_for(system, model, word, source, like)
    text = TextEncoder(system.text_encoder, system.tokenizer)
    text.check_word(word, system.config.vocabulary)
    text.mean_of(task.like)  # refuses what it does not know before anything is made
    recipe = personal(task, steps)
    check_place(out)
    if len(source.pictures()) == 1:
        notice(
            "one picture does not tell a thing from what is around it; ten of it before different "
            "backgrounds would."
        )
    if not task.others:
        notice(
            "this model is not of the built-in world, so there are no other pictures to keep its "
            "other words as they are."
        )
    work = out.with_name(f"{out.name}.unfinished")
    made = train(recipe, work, data=folder, device=device)
    metrics = work / recipe.name / "metrics.jsonl"
    found: dict[str, float] = json.loads(metrics.read_text().splitlines()[-1])["evaluation"]
    shutil.copy(metrics, made)
    made.rename(out)
    shutil.rmtree(work)
    return found


def picture_source(folder: Path, word: str, size: Size) -> PictureSource:
    """Pictures of a new thing, where none are given with the captions that its name alone allows.

    Raises:
        DataError: There are no pictures.
    """
    article = "an" if word.startswith(tuple("aeiou")) else "a"
    named = f"{article} {word}"
    texts = (named, f"the {word}", f"a picture of {named}", f"an image of {named}")
    return PictureSource(folder=folder, texts=texts, size=size, variants=_VARIANTS, word=word)


def figures(stage: NewWord, batch: Batch) -> dict[str, float]:
    """Losses of a batch by kind of picture, the mean over draws that are always the same."""
    generator = Generator().manual_seed(0)
    with torch.no_grad():
        reports = [stage.loss(batch, generator).report for _ in range(_DRAWS)]
    return {
        name: float(torch.stack([each[name] for each in reports]).mean()) for name in reports[0]
    }


def _world(count: int, split: Split, size: Size) -> WorldSource:
    return WorldSource(
        count=count,
        kind="image",
        num_frames=1,
        height=size.height,
        width=size.width,
        split=split,
        first_seed=7 * 10**9,
    )


def _start_word(text: TextEncoder, word: str, like: Sequence[str]) -> None:
    """Adds the word, and leaves nothing of the text encoder to train but its embedding."""
    number = text.add_word(word, text.mean_of(like))
    text.model.requires_grad_(False)
    config = TrainableTokensConfig(token_indices=[number], target_modules=["token_embedding"])
    inject_adapter_in_model(config, text.model)


def _word(text_encoder: nn.Module) -> Tensor:
    """The embedding that `_start_word` began."""
    (table,) = (each for each in text_encoder.modules() if isinstance(each, TrainableTokensLayer))
    vector: Tensor = table.trainable_tokens_delta["default"][0]
    return vector
