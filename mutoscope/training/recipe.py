"""A recipe: one complete, printable, hashable description of a training run and its parents."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from mutoscope.errors import RequestError
from mutoscope.training.fields import WITHOUT_SAYING
from mutoscope.training.optim import AdamW, Muon, Schedule
from mutoscope.types import Batch, Objective

Modules = Mapping[str, nn.Module]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a task hands to the training loop.

    Attributes:
        objective: What is trained, on the device that was asked for.
        batches: Batch number i of the run (from 0), a pure function of i; called in a thread of
            its own, one call at a time, ahead of the loop. With gradient accumulation every step
            takes as many numbers as it accumulates.
        export: Writes the trained components as a `from_pretrained` folder; gets the objective's
            modules with averaged weights, and an existing empty folder.
        evaluate: Figures of the model as it stands, and sample sheets in an existing folder; gets
            the modules with averaged weights, the step, and that folder. It must not change what
            it is given; what it draws comes from generators of its own.
        of_data: Whether it is made of the user's videos where they are given; such a run never goes
            on with others.
    """

    objective: Objective
    batches: Callable[[int], Batch]
    export: Callable[[Modules, Path], None]
    evaluate: Callable[[Modules, int, Path], Mapping[str, float]] | None = None
    of_data: bool = False


@runtime_checkable
class Task(Protocol):
    """What is learned from what: a frozen dataclass of plain values, which prints and hashes."""

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        """Builds the run; called again, in a new process, whenever the run is taken up again.

        It must come out the same every time; the task's own fields hold the size of a batch and
        the seeds of the data. Modules may be constructed freely: the call is made under
        `from_seed` with the recipe's seed.

        Args:
            parents: The exported folder of each parent recipe, by name.
            data: The folder of the user's videos, or None for the built-in world.
            device: Where the objective's modules shall lie.
            work: A folder for what is computed once (encoded latents), shared by all runs of one
                chain; name what lies there by what it was made from.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run, whole: what, from what, how long and how.

    Attributes:
        name: Of the run and its folder; unique among a recipe and its ancestors.
        task: What is learned from what.
        parents: Recipes whose exported models the task starts from or uses.
        steps: Optimizer steps, at least 1.
        accumulate: Batches whose gradients make up one step.
        parts: Parts of a batch that are computed side by side on a CPU, each with noise of its own;
            small operations fill two cores badly. The batch size is a multiple of it. At most 2, so
            that gradients add up to the same bits in whichever order they come.
        optimizer: What moves the weights.
        schedule: How the step size changes over the run.
        ema: Share of the averaged weights kept at each step, in [0, 1).
        precision: Of the forward pass; "bf16" means where the device is good at it, else fp32.
        seed: Of the noise, and of first weights for which the task has no seed of its own.
        needs_data: Whether it is nothing without the user's videos.
        evaluate_every: Steps between evaluations; there is always one at the end.
        save_every: Steps between checkpoints, at most; five minutes also bring one.
    """

    name: str
    task: Task
    parents: tuple["Recipe", ...] = ()
    steps: int
    accumulate: int = 1
    parts: int = field(default=1, metadata=WITHOUT_SAYING)
    optimizer: AdamW | Muon
    schedule: Schedule = field(default_factory=Schedule)
    ema: float = 0.999
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0
    needs_data: bool = field(default=False, metadata=WITHOUT_SAYING)
    # How a run is watched does not change what it becomes: compare=False keeps it out of the hash.
    evaluate_every: int = field(default=1000, compare=False)
    save_every: int = field(default=1000, compare=False)

    def __post_init__(self) -> None:
        whole = ("steps", "accumulate", "evaluate_every", "save_every")
        for name in whole:
            if getattr(self, name) < 1:
                raise RequestError(
                    f"{name}={getattr(self, name)} makes no run of {self.name!r}: it is at least 1."
                    " Raise it."
                )
        if self.parts not in (1, 2):
            raise RequestError(f"parts={self.parts} cannot be computed side by side: it is 1 or 2.")
        if not 0 <= self.ema < 1:
            raise RequestError(f"ema={self.ema} cannot be used: a share in [0, 1). Use e.g. 0.999.")
        if self.precision not in ("fp32", "bf16"):
            raise RequestError(f"precision={self.precision!r} is unknown. Use 'fp32' or 'bf16'.")
        if Path(self.name).name != self.name or self.name.startswith(".") or self.name == "work":
            raise RequestError(
                f"{self.name!r} cannot name a recipe: the name becomes a folder, and 'work' is "
                "taken. Use letters, digits and dashes."
            )
        self._check_ancestors()

    def _check_ancestors(self) -> None:
        hashes: dict[str, str] = {self.name: self.hash()}
        for recipe in (link for parent in self.parents for link in parent.chain()):
            if hashes.setdefault(recipe.name, recipe.hash()) != recipe.hash():
                raise RequestError(
                    f"Two different recipes are named {recipe.name!r} in the chain of "
                    f"{self.name!r}: each has its own folder. Rename one."
                )

    def chain(self) -> tuple["Recipe", ...]:
        """All ancestors, each once and after its own parents, and this recipe last."""
        return self._chain

    def hash(self) -> str:
        """Sixteen hex digits that change with anything that changes what the run becomes.

        Covered are class names and field values of the whole tree, and of the parents their
        hashes. Left out are paths (the same data lies elsewhere on another machine) and fields
        declared with `compare=False`.
        """
        return self._hash

    # A long chain is asked for these again and again, by every recipe that goes on from it.
    @cached_property
    def _chain(self) -> tuple["Recipe", ...]:
        links = (link for parent in self.parents for link in parent.chain())
        return (*{link.name: link for link in links}.values(), self)

    @cached_property
    def _hash(self) -> str:
        text = json.dumps(self.canonical(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def canonical(self) -> dict[str, object]:
        """The hashed description as plain JSON values."""
        return _canonical_fields(self)

    def describe(self) -> str:
        """The tree of values, two spaces to a level, parents last; what `--dry-run` prints."""
        lines = [f"{self.name} ({self.hash()})"]
        for item in dataclasses.fields(self):
            if item.name not in ("name", "parents"):
                lines += _describe(item.name, getattr(self, item.name), 1)
        if self.parents:
            lines.append("  parents:")
            for parent in self.parents:
                lines += [f"    {line}" for line in parent.describe().splitlines()]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.describe()


def _canonical_fields(value: object) -> dict[str, object]:
    assert dataclasses.is_dataclass(value)
    entries: dict[str, object] = {"class": type(value).__qualname__}
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        if item.metadata == WITHOUT_SAYING and content == item.default:
            continue
        if item.compare and not isinstance(content, Path):
            entries[item.name] = _canonical(content, f"{type(value).__qualname__}.{item.name}")
    return entries


def _canonical(value: object, where: str) -> object:
    if isinstance(value, Recipe):
        return value.hash()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _canonical_fields(value)
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        # 1.0 == 1 in Python, so the two must hash alike.
        return int(value) if value.is_integer() else value
    if isinstance(value, tuple | list):
        return [_canonical(entry, where) for entry in value if not isinstance(entry, Path)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _canonical(entry, where) for key, entry in value.items()}
    raise RequestError(
        f"{where} = {value!r} cannot be hashed: a recipe holds numbers, strings, tuples, mappings "
        "and dataclasses of these. Describe it by such values."
    )


def _describe(name: str, value: object, level: int) -> list[str]:
    indent = "  " * level
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        lines = [f"{indent}{name}: {type(value).__name__}"]
        for item in dataclasses.fields(value):
            lines += _describe(item.name, getattr(value, item.name), level + 1)
        return lines
    return [f"{indent}{name}: {value}"]
