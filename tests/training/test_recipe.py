"""Recipes print, hash, and refuse what makes no run."""

from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import jaxtyping
import pytest

from mutoscope.errors import RequestError
from mutoscope.training.optim import AdamW, Schedule
from tests.training.tiny import TinyTask, tiny_recipe


class Colour(Enum):
    RED = 1


@dataclass(frozen=True, kw_only=True)
class RichTask(TinyTask):
    """A task with a field of every kind that a recipe may hold."""

    ratio: float = 1.0
    widths: tuple[int, ...] = (1, 2)
    inner: AdamW = field(default_factory=lambda: AdamW(lr=0.5))
    colour: Colour = Colour.RED
    table: dict[str, float] = field(default_factory=lambda: {"b": 0.5, "a": 1})
    name: str | None = None
    folder: Path = Path("/here")
    sheets: int = field(default=4, compare=False)


def test_the_hash_is_of_the_values_and_stays_the_same_in_every_process() -> None:
    # Written down, as checkpoints and shipped weights carry it: a change orphans them all.
    assert tiny_recipe().hash() == "29312cdcf082b7ef"
    assert tiny_recipe(task=RichTask()).hash() == "6990a1233eef54e2"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"steps": 21},
        {"accumulate": 2},
        {"parts": 2},
        {"optimizer": AdamW(lr=1e-2, clip=2.0)},
        {"optimizer": AdamW(lr=1e-2, words=2.0)},
        {"schedule": Schedule(warmup=3, decay=0.5, shape="cosine")},
        {"ema": 0.5},
        {"precision": "bf16"},
        {"seed": 1},
        {"task": TinyTask(batch_size=5)},
        {"task": RichTask()},
        {"parents": (tiny_recipe("parent"),)},
    ],
    ids=str,
)
def test_whatever_changes_the_run_changes_the_hash(change: dict[str, object]) -> None:
    assert replace(tiny_recipe(), **change).hash() != tiny_recipe().hash()  # type: ignore[arg-type]


def test_a_change_deep_in_the_tree_or_among_the_ancestors_changes_the_hash() -> None:
    inner = replace(RichTask(), inner=AdamW(lr=0.25))
    assert tiny_recipe(task=inner).hash() != tiny_recipe(task=RichTask()).hash()
    old = tiny_recipe("b", parents=(tiny_recipe("a"),))
    new = tiny_recipe("b", parents=(tiny_recipe("a", seed=1),))
    assert tiny_recipe(parents=(old,)).hash() != tiny_recipe(parents=(new,)).hash()


@pytest.mark.parametrize(
    "same",
    [
        RichTask(folder=Path("/there")),
        RichTask(sheets=9),
        RichTask(ratio=1),
        RichTask(table={"a": 1.0, "b": 0.5}),
    ],
    ids=["path", "not compared", "1 and 1.0", "order of a mapping"],
)
def test_what_does_not_change_the_run_does_not_change_the_hash(same: RichTask) -> None:
    assert tiny_recipe(task=same).hash() == tiny_recipe(task=RichTask()).hash()
    assert tiny_recipe(save_every=1, evaluate_every=1).hash() == tiny_recipe().hash()


def test_prints_as_a_tree_with_its_parents() -> None:
    recipe = tiny_recipe(task=RichTask(), parents=(tiny_recipe("first"),))
    lines = str(recipe).splitlines()
    assert lines[0] == f"tiny ({recipe.hash()})"
    assert "  task: RichTask" in lines
    assert "    inner: AdamW" in lines
    assert "      lr: 0.5" in lines
    assert f"    first ({tiny_recipe('first').hash()})" in lines


def test_the_chain_names_each_ancestor_once_and_before_its_children() -> None:
    first = tiny_recipe("first")
    middle = tiny_recipe("middle", parents=(first,))
    names = [link.name for link in tiny_recipe("last", parents=(middle, first)).chain()]
    assert names == ["first", "middle", "last"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps=0 makes no run of 'tiny': it is at least 1"),
        ({"accumulate": 0}, "accumulate=0 makes no run"),
        ({"parts": 3}, "parts=3 cannot be computed side by side: it is 1 or 2"),
        ({"save_every": 0}, "save_every=0 makes no run"),
        ({"ema": 1.0}, r"ema=1.0 cannot be used: a share in \[0, 1\)"),
        ({"name": "a/b"}, "'a/b' cannot name a recipe"),
        ({"name": ".."}, "'..' cannot name a recipe"),
        ({"name": "work"}, "'work' cannot name a recipe"),
    ],
)
def test_refuses_what_makes_no_run(change: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        tiny_recipe(**change)


def test_refuses_an_unknown_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    # The run-time type check of the tests would refuse it before the recipe can.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(RequestError, match=r"precision='fp16' is unknown. Use 'fp32' or 'bf16'"):
        tiny_recipe(precision="fp16")


def test_refuses_two_ancestors_of_one_name() -> None:
    parents = (tiny_recipe("a"), tiny_recipe("b", parents=(tiny_recipe("a", seed=1),)))
    with pytest.raises(RequestError, match="Two different recipes are named 'a'"):
        tiny_recipe("c", parents=parents)


@pytest.mark.parametrize(
    "value", [lambda: 1, float("nan"), {1: 2}, b"x"], ids=lambda value: type(value).__name__
)
def test_refuses_to_hash_what_has_no_stable_value(value: object) -> None:
    with pytest.raises(RequestError, match=r"RichTask\.ratio = .* cannot be hashed"):
        tiny_recipe(task=RichTask(ratio=value))  # type: ignore[arg-type]
