"""Gathers the finished runs of the chain into the folder of miniatures that the package ships.

Command: `python -m mutoscope.recipes.ship RUNS TARGET`, after `mutoscope train mini:first_frame
--out RUNS`. Weights are stored in half precision; each file's header says which recipe made it.

The way back, `python -m mutoscope.recipes.ship --unpack RUNS` or `mutoscope train --shipped`, lays
the shipped parts out as finished runs, so that a new run that builds on them need not make them.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mutoscope.errors import MutoscopeError, RequestError
from mutoscope.recipes import mini
from mutoscope.recipes.super_resolution import DETAIL, NOISE_LEVEL, STEPS
from mutoscope.systems.lavie import LaVie
from mutoscope.training.footage import of_footage
from mutoscope.training.provenance import read_provenance, read_record, write_provenance
from mutoscope.training.recipe import Recipe
from mutoscope.training.trainer import claim
from mutoscope.video.atomic import whole
from mutoscope.world.grammar import VOCABULARY

# Run -> what it leaves, and where that lies in the package; what systems share is stored once. Of
# runs with one place each goes on from the one before; the last that is finished is shipped.
_TEXT = {
    "text_encoder": "text_encoder",
    "tokenizer": "tokenizer",
    "contrast.safetensors": "contrast.safetensors",
}
_INTERPOLATOR = {
    "interpolator": "lavie/interpolator",
    "scheduler": "lavie/interpolator_scheduler",
}
_UPSCALER = {"upscaler": "lavie/upscaler", "scheduler": "lavie/upscaler_scheduler"}
SHIPPED = Path(mini.__file__).parents[1] / "mini"
PLACES: dict[str, dict[str, str]] = {
    "autoencoder": {"vae": "vae"},
    "text": _TEXT,
    "words": _TEXT,
    "oracle": {"oracle": "oracle"},
    **{
        run: {"base": "lavie/base", "scheduler": "lavie/scheduler"}
        for run in (
            "joint",
            "even",
            "sparse",
            "lavie",
            "directed",
            "placed",
            "base",
            "video",
            "final",
            "first_frame",
            "own_base",
        )
    },
    "interpolation": _INTERPOLATOR,
    "own_interpolation": _INTERPOLATOR,
    "autoencoder4": {"vae": "lavie/upscaler_vae"},
    "super_resolution": _UPSCALER,
    "own_super_resolution": _UPSCALER,
}
SAMPLING: dict[str, object] = {
    "num_frames": 16,
    "height": 80,
    "width": 128,
    "fps": 8.0,
    "steps": 25,
    "guidance_scale": 4.0,
    "early_guidance": 2.33,
    "early_until": 850.0,
    "draft_until": 800.0,
}
# Component of a later stage -> what the index says where the package holds it.
LATER: dict[str, dict[str, object]] = {
    "interpolator": {
        "interpolator": ["mutoscope.nn.video_unet", "VideoUNet"],
        "interpolator_scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "interpolation_steps": 8,
        "interpolation_guidance_scale": 1.0,
    },
    "upscaler": {
        "upscaler": ["mutoscope.nn.video_unet", "VideoUNet"],
        "upscaler_vae": ["diffusers", "AutoencoderKL"],
        "upscaler_scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "upscale_steps": STEPS,
        "upscale_guidance_scale": 1.0,
        "upscale_num_frames": 8,
        "upscale_detail": DETAIL,
        "noise_level": NOISE_LEVEL,
    },
}


def ship(runs: Path, target: Path) -> None:
    """Copies the models of the finished runs in `runs` to `target`, in half precision.

    Also the records of where they come from, the image model's among them, which is not shipped.
    What is there already and holds the same stays as it is, byte for byte: runs that were laid out
    by `unpack` would else be shipped anew with every run that builds on them.

    Raises:
        RequestError: Nothing in `runs` is finished, or `target` cannot be written.
    """
    finished = [run for run in PLACES if (runs / run / "model").is_dir()]
    if not finished:
        raise RequestError(
            f"{runs} holds no finished run of {', '.join(PLACES)}. Give the --out of mutoscope "
            "train, once it is done."
        )
    last = {place: (run, source) for run in finished for source, place in PLACES[run].items()}
    for place, (run, source) in last.items():
        if not _holds(target / place, runs / run / "model", source):
            _copy(runs / run / "model", source, target / place)
    for run in dict.fromkeys([*(link.name for link in mini.cascade()), *PLACES]):
        record, kept = runs / run / "model" / "provenance.json", target / "provenance"
        if record.is_file() and not _same_run(record, kept / f"{run}.json"):
            with whole(kept / f"{run}.json") as draft:
                shutil.copy(record, draft)
    if not (target / "lavie").is_dir():
        return  # the readers of a chain whose denoiser is still in training
    index: dict[str, object] = {
        "_class_name": LaVie.__name__,
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "vae": ["diffusers", "AutoencoderKL"],
        "base": ["mutoscope.nn.video_unet", "VideoUNet"],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        **SAMPLING,
        # Which words the captions of one's own videos have nobody wrote down: any may be used.
        "vocabulary": [] if any(of_footage(runs / run) for run in finished) else list(VOCABULARY),
    }
    for component, entries in LATER.items():
        if (target / "lavie" / component).is_dir():
            index |= entries
    with whole(target / "lavie" / "model_index.json") as draft:
        draft.write_text(json.dumps(index, indent=1) + "\n", "utf-8")


def unpack(shipped: Path, runs: Path) -> None:
    """Lays the models of a package out as finished runs in `runs`; what lies there stays.

    Their records say the steps and losses of the runs that made them; the weights are the shipped
    ones, in half precision, and the records' hashes are those of these files.

    Raises:
        RequestError: `runs` holds another run of one of these names, finished.
    """
    for run, places in PLACES.items():
        record = shipped / "provenance" / f"{run}.json"
        weights = [path for place in places.values() for path in _weights(shipped / place)]
        if not weights or any(_header(path)["recipe"] != run for path in weights):
            continue
        recipe = next(link for link in mini.cascade() if link.name == run)
        model = runs / run / "model"
        if model.exists():
            if _same_run(record, model / "provenance.json"):
                continue
            raise RequestError(
                f"{model} is of another run than the one that is shipped. Give an empty folder."
            )
        claim(recipe, runs / run)
        draft = model.with_name(".unpacking")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for source, place in places.items():
            copy = shutil.copytree if (shipped / place).is_dir() else shutil.copy
            copy(shipped / place, draft / source)
        shutil.copy(record, draft / "provenance.json")
        write_provenance(read_provenance(draft), draft)
        draft.rename(model)


def shipped_minutes(recipe: Recipe) -> float:
    """How long the shipped run of a recipe was trained.

    Raises:
        RequestError: No such run is shipped, or one of another recipe.
    """
    record = SHIPPED / "provenance" / f"{recipe.name}.json"
    found = read_record(record) if record.is_file() else None
    if found is None or found.hash != recipe.hash():
        raise RequestError(
            f"how long {recipe.name!r} was trained is not on record: nothing is shipped of it. "
            "Give --minutes, or train it to its last step."
        )
    return found.minutes


def _weights(place: Path) -> list[Path]:
    """The safetensors file, or those in the folder."""
    return [place] if place.suffix == ".safetensors" else sorted(place.glob("*.safetensors"))


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {"format": "pt"})


def _same_run(record: Path, kept: Path) -> bool:
    """Whether two records are of one run; the hashes of files differ where it was unpacked."""
    if not kept.is_file():
        return False
    one, other = (replace(read_record(path), files={}) for path in (record, kept))
    return one == other


def _holds(place: Path, model: Path, source: str) -> bool:
    """Whether `place` holds what `_copy` would put there."""
    origin, wanted = model / source, _header_of(model)
    theirs = [origin] if origin.is_file() else sorted(p for p in origin.rglob("*") if p.is_file())
    for path in theirs:
        ours = place / path.relative_to(origin) if origin.is_dir() else place
        if not ours.is_file():
            return False
        if path.suffix != ".safetensors":
            if ours.read_bytes() != path.read_bytes():
                return False
            continue
        new, old = load_file(path), load_file(ours)
        if _header(ours) != _header(path) | wanted or new.keys() != old.keys():
            return False
        if not all(torch.equal(_half(new[name]), old[name]) for name in new):
            return False
    return True


def _copy(model: Path, source: str, place: Path) -> None:
    origin = model / source
    if origin.is_file():
        with whole(place) as draft:
            _halve(origin, draft, model)
        return
    with whole(place) as draft:
        shutil.copytree(origin, draft)
        for weights in _weights(draft):
            _halve(weights, weights, model)
        if place.is_dir():  # no folder takes the place of another that holds something
            shutil.rmtree(place)


def _halve(origin: Path, place: Path, model: Path) -> None:
    """Writes tensors in half precision, with the recipe that made them in the file's header."""
    header = _header(origin) | _header_of(model)
    tensors = {name: _half(tensor) for name, tensor in load_file(origin).items()}
    save_file(tensors, place, metadata=header)


def _half(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float16) if tensor.is_floating_point() else tensor


def _header_of(model: Path) -> dict[str, str]:
    """What a shipped file says of the run that left `model`."""
    provenance = read_provenance(model)
    return {
        "recipe": provenance.recipe,
        "recipe_hash": provenance.hash,
        "steps": str(provenance.steps),
        "parents": json.dumps(
            {name: [each.hash, each.steps] for name, each in sorted(provenance.parents.items())}
        ),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Ships or unpacks, as the command line says; what cannot be done is one line."""
    parser = argparse.ArgumentParser(prog="python -m mutoscope.recipes.ship")
    parser.add_argument("--unpack", action="store_true", help="lay out what is shipped, in RUNS")
    parser.add_argument("runs", type=Path, help="folder of runs")
    parser.add_argument("target", type=Path, nargs="?", help="folder of models to write")
    given = parser.parse_args(arguments)
    if given.unpack != (given.target is None):
        parser.error("give RUNS TARGET, or --unpack RUNS")
    try:
        if given.unpack:
            unpack(SHIPPED, given.runs)
        else:
            ship(given.runs, given.target)
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
