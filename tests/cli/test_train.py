"""`mutoscope train`: recipes are found by name, shown, and run one after the other."""

from pathlib import Path

import pytest

from mutoscope.recipes import mini, own
from mutoscope.training.recipe import Recipe
from tests.cli.test_generate import Run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None, str]]:
    """Name, minutes and device of each run that a command asked for; none is trained."""
    asked: list[tuple[str, float | None, str]] = []

    def train(
        recipe: Recipe, out: Path, *, minutes: float | None, device: str, **_: object
    ) -> Path:
        asked.append((recipe.name, minutes, device))
        return out / recipe.name

    monkeypatch.setattr("mutoscope.training.trainer.train", train)
    return asked


def test_a_dry_run_shows_every_recipe_and_makes_nothing(run: Run, tmp_path: Path) -> None:
    names = ["mini:autoencoder", "mini:autoencoder4"]
    result = run("train", *names, "--out", tmp_path / "runs", "--dry-run")
    assert result.code == 0
    assert result.out == f"{mini.autoencoder()}\n{mini.autoencoder4()}\n"
    assert not (tmp_path / "runs").exists()


def test_all_recipes_are_trained_in_the_order_given(
    run: Run, tmp_path: Path, trained: list[tuple[str, float | None, str]]
) -> None:
    names = ["mini:oracle", "mini:autoencoder"]
    result = run("train", *names, "--out", tmp_path, "--minutes", 3)
    assert [(name, minutes) for name, minutes, _ in trained] == [
        ("oracle", 3.0),
        ("autoencoder", 3.0),
    ]
    assert result.out.splitlines() == [str(tmp_path / "oracle"), str(tmp_path / "autoencoder")]


@pytest.mark.slow
def test_shipped_models_stand_for_the_parents_and_one_may_come_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mutoscope.training.trainer.train", lambda recipe, out, **_: recipe.name)
    for _ in range(2):
        result = run("train", "own:interpolation", "--shipped", "--out", tmp_path / "runs")
        assert result.code == 0, result.err
    for parent in own.interpolation().parents:
        assert (tmp_path / "runs" / parent.name / "model" / "provenance.json").is_file()
    assert not (tmp_path / "runs" / "own_interpolation").exists()


def test_each_run_may_last_as_long_as_the_shipped_one(
    run: Run, tmp_path: Path, trained: list[tuple[str, float | None, str]]
) -> None:
    names = ["mini:words", "mini:autoencoder4"]
    result = run("train", *names, "--out", tmp_path, "--as-shipped")
    assert [name for name, *_ in trained] == ["oracle", "text", "words", "autoencoder4"]
    assert trained[0][1] == pytest.approx(44.5, abs=0.1)
    assert result.out.splitlines() == [str(tmp_path / "words"), str(tmp_path / "autoencoder4")]
    ask = "train", "--out", tmp_path, "--as-shipped"
    assert "not on record: nothing is shipped" in run(*ask, "curriculum:curriculum").err
    assert "Leave --minutes out" in run(*ask, "mini:words", "--minutes", 3).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mini:autoencoder", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (["mini:autoencoder", "--data", "none"], "none holds no captioned video"),
        (["own:base"], "own_base learns from your videos, and none are given"),
        (["personal:personalize"], "'personal:personalize' names no recipe"),
        (["personal:personal"], "'personal:personal' names no recipe"),
    ],
)
def test_what_cannot_be_trained_is_said_before_any_work(
    run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = run("train", *arguments, "--out", tmp_path / "runs")
    assert result.code == 1
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_device_is_the_machines_best_unless_it_is_named(
    run: Run,
    tmp_path: Path,
    trained: list[tuple[str, float | None, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for options in ([], ["--device", "auto"], ["--device", "cpu"]):
        assert run("train", "mini:oracle", "--out", tmp_path, *options).code == 0
    assert [device for *_, device in trained] == ["cuda", "cuda", "cpu"]


def test_one_unknown_recipe_stops_all_before_any_work(run: Run, tmp_path: Path) -> None:
    result = run("train", "mini:autoencoder", "mini:nope", "--out", tmp_path / "runs")
    assert result.code == 1
    assert "'mini:nope' names no recipe" in result.err
    assert not (tmp_path / "runs").exists()


def test_the_cascade_is_every_run_once_parents_first() -> None:
    names = [link.name for link in mini.cascade()]
    assert len(names) == len(set(names))
    assert {"interpolation", "final", "image", "upscaler", "super_resolution"} <= set(names)
    for link in mini.cascade():
        assert all(names.index(p.name) < names.index(link.name) for p in link.parents)
