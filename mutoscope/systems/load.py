"""`load`: a folder or a name becomes a system, or one sentence says why not."""

import inspect
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn

from mutoscope.errors import ModelError
from mutoscope.systems.hub import CONFIGURATIONS, fetch, is_hub_name
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.system import System

_CLASSES: dict[str, type[System]] = {"LaVie": LaVie}
_SHIPPED = Path(__file__).parents[1] / "mini"
_MINI, _FULL = "lavie-mini", "lavie"
KNOWN = (_MINI, _FULL)
"""Names of models: the shipped one, and LaVie as its authors trained it, once it is converted."""


def load(
    name_or_path: str | Path = _MINI,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> System:
    """A system, ready to be called. Only a model of the Hugging Face Hub is ever downloaded.

    Args:
        name_or_path: A folder that `save_pretrained` or `mutoscope convert` wrote; else a known
            name, "lavie-mini" or "lavie"; else that of a model on the Hub, "owner/name".
        device: Where it shall run, as torch names it.
        dtype: Precision it shall run in, whatever it is stored in.

    Raises:
        ModelError: No such folder or name, or a folder that is incomplete, damaged or of another
            kind.
    """
    folder, shared = _place(name_or_path)
    index = _read_index(folder)
    system_class = _CLASSES[index["_class_name"]]
    with as_model_error(folder), quietly():
        borrowed = {
            name: _component(shared / name, library, kind, dtype)
            for name, (library, kind) in _components(system_class, index).items()
            if not (folder / name).is_dir()
        }
        system: System = system_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, **borrowed
        )
    for name, module in system.components.items():
        if isinstance(module, nn.Module):
            _check_complete(shared / name if name in borrowed else folder / name, module)
    with as_model_error(folder):
        system.to(device)
    return system


def _place(name_or_path: str | Path) -> tuple[Path, Path]:
    """The folder of a system, and the one where the components lie that it lacks."""
    name, folder = str(name_or_path), Path(name_or_path)
    if folder.is_dir():
        return folder, folder
    if name == _MINI:
        # What miniatures share lies beside their folders: `mini/vae` is stored once.
        return _SHIPPED / "lavie", _SHIPPED
    if name == _FULL:
        folder = _kept(_FULL)
        if not folder.is_dir():
            raise ModelError(_how_to_make(folder))
    elif isinstance(name_or_path, str) and is_hub_name(name):
        # A model of another kind is refused before gigabytes of it come.
        _read_index(fetch(name, CONFIGURATIONS))
        folder = fetch(name)
    return folder, folder


def _kept(name: str) -> Path:
    """Where a model of that name lies on this machine, as XDG has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mutoscope", name)


def _how_to_make(folder: Path) -> str:
    return (
        f"model {_FULL!r} is not here yet: nobody publishes it in this layout. Fetch "
        "YaohuiW/LaVie, CompVis/stable-diffusion-v1-4 and stabilityai/stable-diffusion-x4-upscaler "
        "from the Hugging Face Hub and make it, once, beside these: mutoscope convert lavie "
        "--base LaVie/lavie_base.pt --interpolation LaVie/lavie_interpolation.pt --upscale "
        "LaVie/lavie_vsr.pt --sd stable-diffusion-v1-4 --x4 stable-diffusion-x4-upscaler "
        f"--out {folder}"
    )


def _why_not(path: Path) -> str:
    """Why a path without a model index is no system."""
    names = ", ".join(KNOWN)
    if (path / "config.json").is_file():
        return (
            f"{path} holds a single component, not a system: a system's folder has a "
            f"model_index.json. Give that folder, or a known name ({names})."
        )
    there = "holds no model_index.json" if path.exists() else "is neither a folder nor a known name"
    return (
        f"model {str(path)!r} {there}: a model is a folder that save_pretrained wrote, one of "
        f"{names}, or OWNER/NAME on the Hugging Face Hub. Give one of these."
    )


def _read_index(folder: Path) -> dict[str, Any]:
    if not (folder / "model_index.json").is_file():
        raise ModelError(_why_not(folder))
    with as_model_error(folder):
        index: dict[str, Any] = json.loads((folder / "model_index.json").read_text("utf-8"))
        kind = index["_class_name"]
    if kind not in _CLASSES:
        raise ModelError(
            f"{folder} holds a {kind}: Mutoscope runs {', '.join(_CLASSES)}. Give a folder of that."
        )
    return index


def _components(system_class: type[System], index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Component name -> library and class: the constructor's arguments that have no default, and
    of the optional components those that the index has."""
    parameters = list(inspect.signature(system_class.__init__).parameters.values())[1:]
    names = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    optional = system_class._optional_components
    names += [name for name in optional if index.get(name, (None, None))[0] is not None]
    return {name: (str(index[name][0]), str(index[name][1])) for name in names}


def _component(folder: Path, library: str, kind: str, dtype: torch.dtype) -> object:
    if not folder.is_dir():
        raise ModelError(
            f"{folder.parent} is incomplete: its {folder.name} ({kind}) is missing. "
            "Copy the whole folder again."
        )
    component = getattr(import_module(library), kind)
    weights = {"dtype": dtype, "use_safetensors": True} if issubclass(component, nn.Module) else {}
    return component.from_pretrained(folder, local_files_only=True, **weights)


def _check_complete(folder: Path, module: nn.Module) -> None:
    """Refuses weights that leave part of a model at its random start, or have no place in it."""
    with as_model_error(folder):
        stored: set[str] = set()
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                stored |= set(weights.keys())
    wanted = set(module.state_dict())
    if stored != wanted:
        odd = sorted(stored ^ wanted)
        raise ModelError(
            f"{folder} does not hold the weights of a {type(module).__name__}: "
            f"{len(wanted - stored)} are missing and {len(stored - wanted)} are unknown, "
            f"e.g. {odd[0]}. Save or copy it again."
        )


@contextmanager
def as_model_error(path: Path) -> Iterator[None]:
    """Turns every way in which reading a model can fail into one line.

    Args:
        path: The folder or file that is read.

    Raises:
        ModelError: Instead of what the libraries raise.
    """
    try:
        yield
    except ModelError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        RuntimeError,
        SafetensorError,
    ) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{path} cannot be loaded, it is incomplete, damaged or of another kind: "
            f"{first[:200].rstrip('.')}. Save or copy it again."
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Silences the libraries' own progress bars and notes while a model loads."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
        library.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.enable_progress_bar()
            library.set_verbosity(level)
