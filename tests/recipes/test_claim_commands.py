"""Every claim, small: it trains, measures, judges, publishes, and goes on where it stopped."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mutoscope
from mutoscope.errors import RequestError
from mutoscope.metrics.oracle import needed_oracle
from mutoscope.nn.temporal import is_temporal
from mutoscope.recipes import claims, curriculum, length_claim, mini, source_claims, temporal_claims
from mutoscope.recipes.claim_report import kept
from mutoscope.recipes.curriculum import MarkTask, NewTimeTask, QualityTask
from mutoscope.recipes.parents import load_unet
from mutoscope.recipes.samples import pixels
from mutoscope.recipes.ship import unpack
from mutoscope.recipes.tasks import DenoiserTask
from mutoscope.training.recipe import Recipe

SHIPPED = Path(mutoscope.__file__).parent / "mini"
TIME = temporal_claims.Scale(steps=1, clips=2, seeds=(0,), shown=1, rounds=1)
SOURCES = source_claims.Scale(
    stage_steps=1, tuning_steps=1, clips=4, chosen=2, seeds=(0,), drawn=1, prompts=1
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped parts as finished runs."""
    folder = tmp_path_factory.mktemp("claims")
    unpack(SHIPPED, folder)
    return folder


def prepared(recipe: Recipe, runs: Path):
    parents = {parent.name: runs / parent.name / "model" for parent in recipe.parents}
    return recipe.task.prepare(parents, None, "cpu", runs / "work")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("claim", temporal_claims.CLAIMS)
def test_claims_about_time_run_and_go_on(claim: str, runs: Path) -> None:
    temporal_claims.main(claim, runs, TIME)
    report = json.loads((runs / f"{claim}.json").read_text())
    assert list(report["rows"]) == list(temporal_claims.CLAIMS[claim])
    assert len(report["verdicts"]) == 2
    for row in report["rows"].values():
        assert all(np.isfinite(figure["value"]) for figure in row.values())
    assert (runs / f"{claim}.png").read_bytes().startswith(b"\x89PNG")
    if claim == "patterns":  # it goes on as the other does
        return
    # Stopped before the second arm was measured, it measures only that, and finds the same.
    arm = temporal_claims.CLAIMS[claim][1]
    place = runs / "measured" / f"time-{arm}-0.json"
    others = {path: path.stat().st_mtime_ns for path in place.parent.glob("*.json")}
    del others[place]
    place.unlink()
    temporal_claims.main(claim, runs, TIME)
    again = json.loads((runs / f"{claim}.json").read_text())
    for name, row in report["rows"].items():
        for figure, found in row.items():
            assert again["rows"][name][figure]["value"] == pytest.approx(found["value"], rel=1e-5)
    assert all(path.stat().st_mtime_ns == when for path, when in others.items())


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("claim", source_claims.CLAIMS)
def test_claims_about_sources_run(claim: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mutoscope.recipes.samples.STEPS", 2)  # 20 take ten times as long
    source_claims.main(claim, runs, SOURCES)
    report = json.loads((runs / f"{claim}.json").read_text())
    assert len(report["rows"]) == 3
    assert (runs / f"{claim}.png").read_bytes().startswith(b"\x89PNG")
    for row in report["rows"].values():
        assert all(np.isfinite(figure["value"]) for figure in row.values())


@pytest.mark.long
@pytest.mark.slow
def test_the_claim_about_length_draws_what_it_judges(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mutoscope.recipes.samples.STEPS", 2)
    length_claim.main(runs, length_claim.Scale(training=TIME, prompts=1))
    report = json.loads((runs / "length.json").read_text())
    assert list(report["rows"]) == [*length_claim.ARMS, "true"]
    assert len(report["verdicts"]) == 2
    assert report["rows"]["true"][length_claim.LATER]["value"] == 1
    assert len(list((runs / "measured" / "length").glob("*.png"))) == 6


@pytest.mark.long
@pytest.mark.slow
def test_arms_begin_as_one_network_and_learn_only_how_frames_meet(runs: Path) -> None:
    start = load_unet(runs / curriculum.last_finished(runs).name / "model")
    noisy = torch.randn(1, 16, 3, 10, 16, generator=torch.Generator().manual_seed(0))
    text = torch.linspace(-1, 1, 5 * start.config["cross_attention_dim"]).view(1, 5, -1)
    frames = [start(noisy[:, :, f : f + 1], torch.tensor([700.0]), text).detach() for f in range(3)]
    expected = torch.cat(frames, dim=2)
    for name in temporal_claims.ARMS:
        recipe = temporal_claims.arm(name, 0, TIME, curriculum.last_finished(runs))
        network = prepared(recipe, runs).objective.modules()["network"]
        with torch.no_grad():
            made = network.eval()(noisy, torch.tensor([700.0]), text)
        torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)
        learning = {each for each, p in network.named_parameters() if p.requires_grad}
        assert learning == {each for each, _ in network.named_parameters() if is_temporal(each)}


@pytest.mark.slow
def test_the_first_stage_shows_marked_clips_and_the_second_clean_ones(runs: Path) -> None:
    arms = source_claims.marked_arms(0, SOURCES, curriculum.last_finished(runs))
    shown = {}
    for name in ("marked", "clean"):
        latents = prepared(arms[name], runs).batches(0).latents
        assert latents is not None
        shown[name] = latents
    difference = (shown["marked"] - shown["clean"]).abs().mean(dim=(0, 1, 2))
    assert difference[6:9, 4:12].mean() > 1.5 * difference[:3].mean()
    second = arms["cleaned"].task
    assert isinstance(second, MarkTask)
    assert (second.marked, second.anew) == (False, False)


def test_recipes_say_what_they_start_from() -> None:
    tuned, first, second = (
        curriculum.quality_tuned(),
        curriculum.watermarked(),
        curriculum.cleaned(),
    )
    assert isinstance(tuned.task, QualityTask)
    base = curriculum.BASE.task
    assert isinstance(base, DenoiserTask)
    assert tuned.parents[-1].hash() == first.parents[-1].hash() == curriculum.BASE.hash()
    assert tuned.task.frame_numbers == base.frame_numbers
    assert tuned.task.stride == 1
    plain = replace(curriculum.BASE, task=replace(base, frame_numbers=False))
    other = curriculum.quality_tuned(plain)
    assert isinstance(other.task, QualityTask)
    assert not other.task.frame_numbers
    assert other.hash() != tuned.hash()
    with pytest.raises(RequestError, match="'autoencoder' cannot be tuned for quality"):
        curriculum.quality_tuned(mini.autoencoder())
    assert second.parents[-1].hash() == first.hash()
    rope, causal = (
        temporal_claims.arm(name, 0, TIME, curriculum.BASE) for name in ("rope", "causal")
    )
    assert isinstance(rope.task, NewTimeTask)
    assert isinstance(causal.task, NewTimeTask)
    assert replace(causal.task, temporal_pattern="place") == rope.task


def tables(**levels: float) -> dict[str, dict[str, np.ndarray]]:
    """Errors of arms whose length costs the given percents, on 3 runs and 40 clips."""
    draw = np.random.default_rng(0)
    clips = 1 + 0.2 * draw.random((1, 40))
    return {
        name: {
            "16 frames": clips + 0.001 * draw.random((3, 40)),
            "32 as halves": clips + 0.001 * draw.random((3, 40)),
            "32 in one go": (1 + cost / 100) * clips + 0.001 * draw.random((3, 40)),
        }
        for name, cost in levels.items()
    }


def test_the_rule_on_positions_says_what_it_should() -> None:
    judged = temporal_claims.judge_positions(tables(rope=-1, sinusoidal=9, learned=-1))
    assert judged.verdicts[0].endswith("the claim holds at 32 frames.")
    assert judged.verdicts[1].endswith("the claim is not shown at 32 frames.")
    judged = temporal_claims.judge_positions(tables(rope=9, sinusoidal=-1, learned=9))
    assert judged.verdicts[0].endswith("the claim fails at 32 frames.")


def test_the_rule_on_length_asks_for_both_figures() -> None:
    draw = np.random.default_rng(0)

    def row(consistency: float, smoothness: float) -> dict[str, np.ndarray]:
        levels = {"consistency 32": consistency, "smoothness 32": smoothness}
        return {name: level + 0.01 * draw.random((3, 24)) for name, level in levels.items()}

    tables = {"rope": row(0.9, 0.9), "sinusoidal": row(0.8, 0.8), "learned": row(0.8, 0.9)}
    verdicts = length_claim.judge(tables).verdicts
    assert verdicts[0].endswith("the claim holds in samples.")
    assert verdicts[1].endswith("the claim is not shown in samples.")
    tables["learned"] = row(0.8, 0.99)
    assert length_claim.judge(tables).verdicts[1].endswith("the claim fails in samples.")


def test_clips_are_judged_by_what_they_show() -> None:
    scenes = length_claim.asked(2)
    true = pixels(scenes, num_frames=32, fps=8.0)
    found = length_claim.judged(true, scenes, needed_oracle())
    assert found[length_claim.LATER] == [1.0, 1.0]
    # The later half of one shows what the other one is to show.
    swapped = torch.cat([true[:, :, :16], true.flip(0)[:, :, 16:]], dim=2)
    mixed = length_claim.judged(swapped, scenes, needed_oracle())
    assert mixed[length_claim.LATER] == [0.0, 0.0]
    for name in ("consistency 32", "smoothness 32"):
        assert all(a < b for a, b in zip(mixed[name], found[name], strict=True))


def test_the_rule_on_patterns_weighs_quality_and_speed() -> None:
    seconds = {
        name: np.array([[base, base + 0.01, base + 0.02]])
        for name, base in {"rope": 1.0, "causal": 1.0, "clip": 3.0}.items()
    }
    errors = tables(rope=0, causal=0, clip=0)
    errors["clip"]["16 frames"] = 0.9 * errors["clip"]["16 frames"]
    judged = temporal_claims.judge_patterns(errors, seconds)
    assert "causal against rope: no different" in judged.verdicts[0]
    assert judged.verdicts[0].endswith("the claim holds.")
    assert "clip against rope: better" in judged.verdicts[1]
    assert "slower (step time 19" in judged.verdicts[1]
    assert judged.verdicts[1].endswith("the claim fails.")


@pytest.mark.parametrize(
    ("marked", "cleaned", "clean", "verdict"),
    [
        (0.8, 0.01, 0.0, "and goes: left"),
        (0.8, 0.7, 0.0, "and stays: left"),
        (0.8, 0.3, 0.0, "and goes in part: left"),
        (0.05, 0.05, 0.0, "was not learned"),
    ],
)
def test_the_rule_on_the_watermark(
    marked: float, cleaned: float, clean: float, verdict: str
) -> None:
    draw = np.random.default_rng(0)
    found = {
        arm: {"mark": level + 0.02 * draw.normal(size=(3, 40))}
        for arm, level in {"marked": marked, "cleaned": cleaned, "clean": clean}.items()
    }
    assert verdict in source_claims.judge_watermark(found).verdicts[0]


def test_the_rule_on_quality_compares_with_longer_training_and_with_none() -> None:
    draw = np.random.default_rng(0)
    luck = draw.random((3, 60))
    found = {
        arm: {"all": (luck < share).astype(float)}
        for arm, share in {"tuned": 0.8, "longer": 0.4, "before": 0.8}.items()
    }
    verdicts = source_claims.judge_quality(found).verdicts
    assert verdicts[0].endswith("tuning helps")
    assert verdicts[1].endswith("nothing is shown")
    found["longer"], found["tuned"] = found["tuned"], found["longer"]
    assert source_claims.judge_quality(found).verdicts[0].endswith("tuning harms")


def test_figures_of_something_else_are_never_taken(tmp_path: Path) -> None:
    place = tmp_path / "figures.json"
    assert kept(place, {"n": 1}, lambda: {"error": [0.5]}) == {"error": [0.5]}
    assert kept(place, {"n": 1}, lambda: {"error": [9.0]}) == {"error": [0.5]}
    with pytest.raises(RequestError, match="holds figures of"):
        kept(place, {"n": 2}, lambda: {"error": [9.0]})


@pytest.mark.long
@pytest.mark.slow
def test_the_forgetting_experiment_begins_with_what_is_shipped(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mutoscope.recipes.samples.STEPS", 2)
    for name, value in {"STEPS": 2, "STILLS": 2, "CLIPS": 2, "SEEDS": (0,)}.items():
        monkeypatch.setattr(claims, name, value)
    before = {path.name for path in runs.iterdir()}
    found = claims.run_forgetting(runs)
    arms = {f"forgetting-{arm}-0" for arm in claims.ARMS}
    assert {path.name for path in runs.iterdir()} - before == {
        *arms, "forgetting", "forgetting.json", *({"work"} - before),
    }  # fmt: skip
    assert set(found) == {"before", *claims.ARMS}
    assert claims.verdict(found)
    assert claims.run_forgetting(runs) == found  # nothing is done twice
