"""A learned word on disk: LoRA and embedding as diffusers reads them, and for which weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from diffusers.loaders.textual_inversion import TEXT_INVERSION_NAME_SAFE
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mutoscope.encoding.identity import weights_hash
from mutoscope.errors import ModelError, RequestError
from mutoscope.systems.system import System


@dataclass(frozen=True, eq=False)
class Lora:
    """What a model has to be given to know a word.

    Attributes:
        word: The new word.
        vector: Its embedding.
        layers: Low-rank changes of the base, by the names of diffusers' LoRA files (`unet....`).
        base: Hash of the weights that they were learned for; see `base_hash`.
        model: What that model was called.
        like: Known words at whose mean the new one began, and which stand for it in much noise.
    """

    word: str
    vector: Float[Tensor, "D"]
    layers: Mapping[str, Tensor]
    base: str
    model: str
    like: tuple[str, ...] = ()


def base_hash(system: System) -> str:
    """Identity of all weights between a prompt, a picture and the base's prediction.

    Raises:
        RequestError: The system has no base.
    """
    if system.base is None:
        raise RequestError(
            "this model has no network that draws from words, so it cannot be taught one. Use one "
            "that has."
        )
    names = ("text_encoder", "vae", "base")
    return weights_hash({name: getattr(system, name) for name in names})


def write_lora(lora: Lora, folder: Path) -> None:
    """Writes `pytorch_lora_weights.safetensors` and `learned_embeds.safetensors`.

    The names are those that diffusers' loaders of LoRA and of textual inversion look for; what the
    weights were learned for is said in the headers, which these loaders pass by.

    Args:
        lora: What to write.
        folder: An existing folder.
    """
    header = {"format": "pt", "word": lora.word, "base": lora.base, "model": lora.model}
    header["like"] = ",".join(lora.like)
    files = {
        LORA_WEIGHT_NAME_SAFE: lora.layers,
        TEXT_INVERSION_NAME_SAFE: {lora.word: lora.vector},
    }
    for name, tensors in files.items():
        content = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        save_file(content, folder / name, header)


def read_lora(folder: Path) -> Lora:
    """What `write_lora` wrote.

    Raises:
        ModelError: It is not there, damaged, or does not say what it was learned for.
    """
    file = folder / LORA_WEIGHT_NAME_SAFE
    if not file.is_file():
        raise ModelError(
            f"{folder} holds no {file.name}: a LoRA is a folder that mutoscope personalize wrote. "
            "Give such a folder."
        )
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
        word = header["word"]
        vector = load_file(folder / TEXT_INVERSION_NAME_SAFE)[word]
        like = tuple(filter(None, header.get("like", "").split(",")))
        return Lora(word, vector, load_file(file), header["base"], header["model"], like)
    except KeyError as error:
        raise ModelError(
            f"{folder} does not say for which weights it was learned: only what mutoscope "
            "personalize writes does. Give such a folder."
        ) from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be read: {error}. Copy it again.") from error
