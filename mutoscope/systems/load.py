"""`load`: a folder or a name becomes a system, or one sentence says why not."""

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import Tensor, nn

from mutoscope.errors import ModelError, RequestError
from mutoscope.nn.misfits import first_of, misfits
from mutoscope.systems.full_size import lavie_at_full_size
from mutoscope.systems.hub import CONFIGURATIONS, FILES, fetch, is_hub_name
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.reading import as_model_error, quietly
from mutoscope.systems.shelf import Shelf
from mutoscope.systems.system import System

_CLASSES: dict[str, type[System]] = {"LaVie": LaVie}
_LIBRARIES = ("diffusers", "transformers", "mutoscope")
_SHIPPED = Path(__file__).parents[1] / "mini"
_MINI, _FULL = "lavie-mini", "lavie"
KNOWN = (_MINI, _FULL)
"""Names of models: the shipped one, and LaVie as its authors trained it, once it is converted."""


def load(
    name_or_path: str | Path = _MINI,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    offload: bool = False,
) -> System:
    """A system, ready to be called. Only a model of the Hugging Face Hub is ever downloaded.

    Args:
        name_or_path: A folder that `save_pretrained` or `mutoscope convert` wrote; else a known
            name, "lavie-mini" or "lavie"; else that of a model on the Hub, "owner/name".
        device: Where it shall run, as torch names it.
        dtype: Precision it shall run in, whatever it is stored in.
        offload: Whether each network is in memory only while it works, and read anew each time.

    Raises:
        ModelError: No such folder or name, or a folder that is incomplete, damaged or of another
            kind.
        RequestError: There is no such device.
    """
    check_device(device)
    folder = folder_of(name_or_path)
    # Networks are built empty: random weights that are replaced at once would cost a third more.
    system = outline(folder)
    modules = {n: m for n, m in system.components.items() if isinstance(m, nn.Module)}
    shelf = Shelf({name: _part(folder, name) for name in modules}, device, dtype)
    for name, module in modules.items():
        _check_complete(shelf.folders[name], module)
    if offload:
        system.shelf = shelf
        return system
    with as_model_error(folder):
        for name, module in modules.items():
            shelf.fetch(name, module)
    return system


def check_device(device: str) -> None:
    """Finds out whether torch has a device here.

    Args:
        device: As torch names it.

    Raises:
        RequestError: It has not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RequestError(
            f"device {device!r} cannot be used here. Use cpu"
            + (", or cuda." if torch.cuda.is_available() else "; this machine has no CUDA.")
        ) from error


def folder_of(name_or_path: str | Path) -> Path:
    """The folder of a model that can be loaded.

    Args:
        name_or_path: As in `load`.

    Raises:
        ModelError: As in `load`.
    """
    return _place(name_or_path)


def outline(name_or_path: str | Path) -> System:
    """A system without weights: its parameters are on the meta device.

    Args:
        name_or_path: As in `load`, but no weights are downloaded, and of "lavie", LaVie at full
            size, nothing need be there.

    Raises:
        ModelError: As in `load`.
    """
    if str(name_or_path) == _FULL and not (Path(_FULL).is_dir() or _kept(_FULL).is_dir()):
        return lavie_at_full_size()
    folder = _place(name_or_path, CONFIGURATIONS)
    index = _read_index(folder)
    system_class = _CLASSES[index["_class_name"]]
    components = {}
    with as_model_error(folder), quietly():
        for name, (library, kind) in _components(system_class, index).items():
            components[name] = _component(_part(folder, name), library, kind)
        parameters = inspect.signature(system_class.__init__).parameters
        settings = {n: value for n, value in index.items() if n in parameters}
        system: System = system_class(**(settings | dict.fromkeys(_none(index)) | components))
    return system


def _none(index: Mapping[str, Any]) -> list[str]:
    """The components that a system can have and this one has not."""
    return [name for name, value in index.items() if value == [None, None]]


def _part(folder: Path, name: str) -> Path:
    """Where a component of a system lies: in its folder or, shared with others, beside that."""
    beside = folder.resolve().parent / name
    return beside if beside.is_dir() and not (folder / name).is_dir() else folder / name


def _place(name_or_path: str | Path, files: Sequence[str] = FILES) -> Path:
    """The folder of a system.

    Args:
        name_or_path: As in `load`.
        files: What is fetched of a model on the Hub.
    """
    name, folder = str(name_or_path), Path(name_or_path)
    if folder.is_dir():
        return folder
    if name == _MINI:
        return _SHIPPED / "lavie"
    if name == _FULL:
        folder = _kept(_FULL)
        if not folder.is_dir():
            raise ModelError(_how_to_make(folder))
    elif isinstance(name_or_path, str) and is_hub_name(name):
        # A model of another kind is refused before gigabytes of it come.
        _read_index(fetch(name, CONFIGURATIONS))
        folder = fetch(name, files)
    return folder


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


def _component(folder: Path, library: str, kind: str) -> object:
    """One component; a network comes without weights, on the meta device."""
    if not folder.is_dir():
        raise ModelError(
            f"{folder.parent} is incomplete: its {folder.name} ({kind}) is missing. "
            "Copy the whole folder again."
        )
    # A folder of somebody else must not choose what code is run.
    if library.split(".")[0] not in _LIBRARIES:
        raise ModelError(
            f"{folder.parent} asks for {kind} of {library!r} as its {folder.name}: components are "
            f"of {', '.join(_LIBRARIES)} alone. Use a model that mutoscope wrote."
        )
    component = getattr(import_module(library), kind)
    if not issubclass(component, nn.Module):
        return component.from_pretrained(folder, local_files_only=True)
    with init_empty_weights():
        if issubclass(component, transformers.PreTrainedModel):
            module = component(component.config_class.from_pretrained(folder))
        else:
            module = component.from_config(component.load_config(folder))
    return module.eval()


def _check_complete(folder: Path, module: nn.Module) -> None:
    """Refuses weights that are too few, too many, or of other shapes than those of the network."""
    with as_model_error(folder):
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise FileNotFoundError(f"there is no file named *.safetensors in {folder}")
        stored: dict[str, Tensor] = {}
        for file in files:
            with safe_open(file, framework="pt") as weights:
                for name in list(weights.keys()):
                    shape = weights.get_slice(name).get_shape()
                    stored[name] = torch.empty(shape, device="meta")
    if problems := misfits(stored, module.state_dict()):
        raise ModelError(
            f"{folder} does not hold the weights of a {type(module).__name__}: "
            f"{first_of(problems)}. Save or copy it again."
        )
