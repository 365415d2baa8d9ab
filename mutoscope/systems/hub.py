"""The Hugging Face Hub: models by name, fetched once and kept where its own programs do."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download

from mutoscope.errors import ModelError

FILES = ("*.safetensors", "*.json", "*.txt")
"""Of what a model is made; nothing else is fetched, no code and no pickle."""
CONFIGURATIONS = ("*.json", "*.txt")
"""What says of which kind a model is, and how large: all but its weights."""

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(name: str) -> bool:
    """Whether a name is an owner's and a model's, as in "owner/name"."""
    return _NAME.fullmatch(name) is not None


def fetch(name: str, files: Sequence[str] = FILES) -> Path:
    """The folder of a model, fetched as far as it is not here; what was begun is gone on with.

    Args:
        name: As "owner/name".
        files: Patterns of the files to fetch.

    Raises:
        ModelError: The Hub cannot be reached or has no such model, and not all of it is here.
    """
    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # its own, those of the system and of more than one HTTP library
        first, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"model {name!r} is no folder here, and the Hugging Face Hub did not give it: "
            f"{first.split('. ')[0].rstrip('.')}. Without a network, put its model_index.json and "
            f"the folders that this names, with .safetensors, .json and .txt files, in {name}."
        ) from error
