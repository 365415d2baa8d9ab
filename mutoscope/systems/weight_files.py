"""Weight files of others: read as tensors and nothing else, and only as far as they are used."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from mutoscope.errors import ModelError
from mutoscope.nn.misfits import first_of
from mutoscope.systems.reading import as_model_error

AVERAGED = "ema"
"""Where a training script keeps the averaged weights, in a file that holds more than these."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights by name, mapped into memory: what is not looked at is never read from the disk.

    No code in a file is ever run. Dropping all tensors gives back the memory that they filled.

    Args:
        path: A .safetensors file, or one that `torch.save` wrote (.pt, .bin): of tensors by name,
            or of such under the name "ema".

    Raises:
        ModelError: There is no such file, it is damaged, or it holds other things than tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path} is not a file. Give a .pt, .bin or .safetensors file of weights.")
    with as_model_error(path):
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = _unpickled(path)
    if isinstance(content, Mapping) and isinstance(content.get(AVERAGED), Mapping):
        content = content[AVERAGED]
    named = content if isinstance(content, Mapping) else {f"a {type(content).__name__}": None}
    weights = {str(name): each.detach() for name, each in named.items() if isinstance(each, Tensor)}
    if len(weights) < len(named) or not named:
        others = sorted(str(name) for name in named if str(name) not in weights)
        raise ModelError(
            f"{path} does not hold tensors by name, nor under the name {AVERAGED!r}: "
            f"{first_of(others) if others else 'it is empty'}. Give a state dict as torch.save "
            "writes it."
        )
    return weights


def _unpickled(path: Path) -> object:
    # Files of another kind torch would read in one piece, where it does not refuse them.
    if not zipfile.is_zipfile(path):
        raise ModelError(
            f"{path} is not whole, or not a file of PyTorch 1.6 or later; nothing in it was run. "
            "Download it again, or write its tensors anew with torch.save."
        )
    try:
        content: object = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(_more_than_tensors(path)) from error
    return content


def _more_than_tensors(path: Path) -> str:
    wanted = sorted(set(get_unsafe_globals_in_checkpoint(path)))
    calls = first_of(wanted) if wanted else "code in it"
    return (
        f"{path} holds more than tensors: to read it all is to run {calls}, and that may do "
        "anything. Nothing of it was run. If you trust whoever made it, write its tensors alone to "
        "another file, torch.save(torch.load(FILE, weights_only=False)['ema'], OTHER), where it "
        "can do no harm, and give that."
    )
