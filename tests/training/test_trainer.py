"""The loop on a tiny real network: what it computes, what it leaves, and what it refuses."""

import io
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Generator, nn

from mutoscope.errors import Cancelled, RequestError, TrainingError
from mutoscope.training import learner
from mutoscope.training.initialise import from_seed
from mutoscope.training.learner import accelerator_for
from mutoscope.training.optim import AdamW, Muon, Schedule
from mutoscope.training.precision import precision_as_recorded
from mutoscope.training.provenance import read_provenance
from mutoscope.training.recipe import Recipe, Run
from mutoscope.training.trainer import reproduce, train
from mutoscope.types import Batch, Loss, Objective
from tests.disk import disk_full_after
from tests.training.tiny import (
    Denoising,
    TinyTask,
    error_on_test_pictures,
    export,
    network,
    pictures,
    tiny_recipe,
)


def trained(recipe: Recipe, out: Path, **options: object) -> Path:
    """Trains without a word on the terminal."""
    return train(recipe, out, console=Console(file=io.StringIO()), **options)  # type: ignore[arg-type]


def told(recipe: Recipe, out: Path) -> str:
    """What training says."""
    text = io.StringIO()
    train(recipe, out, console=Console(file=text, width=500))
    return text.getvalue()


def metrics(out: Path, name: str = "tiny") -> list[dict[str, float]]:
    """The lines of a run's steps, without its evaluations."""
    lines = (out / name / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if "loss" in record]


def evaluations(out: Path) -> dict[int, float]:
    """The evaluation error by step."""
    lines = map(json.loads, (out / "tiny" / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["evaluation"]["error"] for line in lines if "evaluation" in line}


def exported(folder: Path) -> nn.Module:
    """The exported network, ready for use."""
    module = network()
    module.load_state_dict(load_file(folder / "n.safetensors"))
    return module.eval().requires_grad_(False)


def test_is_the_textbook_loop(tmp_path: Path) -> None:
    """Clipped AdamW on a schedule, and a running mean, written out once more in plain torch."""
    recipe = tiny_recipe(steps=8, optimizer=AdamW(lr=0.01, clip=0.05), ema=0.5)
    ours = exported(trained(recipe, tmp_path))

    module = from_seed(recipe.seed, network)
    objective, generator = Denoising(module), torch.Generator().manual_seed(recipe.seed)
    matrices = [value for value in module.parameters() if value.ndim >= 2]
    vectors = [value for value in module.parameters() if value.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0}],
        betas=(0.9, 0.99),
        foreach=False,
    )
    mean = [value.detach().clone() for value in module.parameters()]
    norms = []
    for step in range(8):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * recipe.schedule.factor(step, step / 8)
        objective.loss(pictures(step), generator).value.backward()
        norms.append(float(nn.utils.clip_grad_norm_(module.parameters(), 0.05)))
        optimizer.step()
        optimizer.zero_grad()
        keep = min(0.5, (1 + step) / (10 + step))
        mean = [
            keep * old + (1 - keep) * new.detach()
            for old, new in zip(mean, module.parameters(), strict=True)
        ]

    for found, due in zip(ours.parameters(), mean, strict=True):
        torch.testing.assert_close(found.detach(), due)
    for one, other in zip(ours.buffers(), module.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    assert [line["grad_norm"] for line in metrics(tmp_path)] == pytest.approx(norms, rel=1e-4)
    assert max(norms) > 0.05


class Exact(Denoising):
    """Without noise and batch norm, so that a batch is the mean of its halves."""

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        assert batch.video is not None
        error = self.network(batch.video[:, :, 0]) - batch.video[:, :, 0]
        return Loss(error.square().mean())


@dataclass(frozen=True, kw_only=True)
class ExactTask(TinyTask):
    """Batches of four, or the same pictures in batches of eight."""

    pairs: bool = False

    def objective(self) -> Objective:
        return Exact(nn.Conv2d(3, 3, 3, padding=1))

    def batch(self, number: int) -> Batch:
        if not self.pairs:
            return pictures(number)
        halves = [pictures(2 * number).video, pictures(2 * number + 1).video]
        return Batch(video=torch.cat([half for half in halves if half is not None]))

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        return replace(super().prepare(parents, data, device, work), evaluate=None)


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path: Path) -> None:
    halves = trained(tiny_recipe(task=ExactTask(), accumulate=2), tmp_path / "halves")
    wholes = trained(tiny_recipe(task=ExactTask(pairs=True)), tmp_path / "wholes")
    one, other = load_file(halves / "n.safetensors"), load_file(wholes / "n.safetensors")
    for name in one:
        torch.testing.assert_close(one[name], other[name])
    losses = [[line["loss"] for line in metrics(tmp_path / way)] for way in ("halves", "wholes")]
    assert losses[0] == pytest.approx(losses[1])


def test_a_batch_in_parts_is_the_batch(tmp_path: Path) -> None:
    whole = trained(tiny_recipe(task=ExactTask()), tmp_path / "whole")
    parts = trained(tiny_recipe(task=ExactTask(), parts=2), tmp_path / "parts")
    one, other = load_file(whole / "n.safetensors"), load_file(parts / "n.safetensors")
    for name in one:
        torch.testing.assert_close(one[name], other[name])
    losses = [[line["loss"] for line in metrics(tmp_path / way)] for way in ("whole", "parts")]
    assert losses[0] == pytest.approx(losses[1])


class Noisy(Exact):
    """Exact, but for noise of its own in each part."""

    def loss(self, batch: Batch, generator: Generator) -> Loss:
        assert batch.video is not None
        clean = batch.video[:, :, 0]
        noisy = clean + torch.randn(clean.shape, generator=generator)
        return Loss((self.network(noisy) - clean).square().mean())


@dataclass(frozen=True, kw_only=True)
class NoisyTask(ExactTask):
    def objective(self) -> Objective:
        return Noisy(nn.Conv2d(3, 3, 3, padding=1))


def test_parts_give_the_same_bits_each_time_and_each_has_its_own_noise(tmp_path: Path) -> None:
    recipe = tiny_recipe(task=NoisyTask(), parts=2)
    once, again = (trained(recipe, tmp_path / name) for name in ("once", "again"))
    assert (once / "n.safetensors").read_bytes() == (again / "n.safetensors").read_bytes()
    generators = []
    learnt = learner.Learner(recipe, Noisy(nn.Conv2d(3, 3, 1)), accelerator_for(recipe, "cpu"))
    objective_loss = learnt.objective.loss

    def spy(batch: Batch, generator: Generator) -> Loss:
        generators.append(generator.initial_seed())
        return objective_loss(batch, generator)

    learnt.objective.loss = spy  # type: ignore[method-assign]
    learnt.advance(iter([pictures(0)]), 0.0)
    learnt.advance(iter([pictures(1)]), 0.0)
    assert len(set(generators)) == 4


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a batch of 5 cannot be computed in 2 equal parts"):
        trained(tiny_recipe(task=TinyTask(batch_size=5), parts=2), tmp_path)


def test_learns(tmp_path: Path) -> None:
    trained(tiny_recipe(steps=90, evaluate_every=90, save_every=90), tmp_path)
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])


def test_evaluates_the_averaged_weights_on_the_way_and_at_the_end(tmp_path: Path) -> None:
    model = trained(tiny_recipe(), tmp_path)
    assert list(evaluations(tmp_path)) == [7, 14, 20]
    sheets = sorted(path.parent.name for path in (tmp_path / "tiny/samples").rglob("sheet.txt"))
    assert sheets == ["step_00000007", "step_00000014", "step_00000020"]
    # What was exported is what was last evaluated: averaged weights in evaluation mode.
    again = error_on_test_pictures({"network": exported(model)}, 20, tmp_path)
    assert again["error"] == evaluations(tmp_path)[20]


def test_every_step_leaves_its_figures(tmp_path: Path) -> None:
    trained(tiny_recipe(), tmp_path)
    lines = metrics(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 21))
    names = {"step", "loss", "noise", "grad_norm", "lr", "samples_per_second", "elapsed"}
    assert all(line.keys() == names for line in lines)
    assert [line["lr"] for line in lines[:4]] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01])
    assert lines[-1]["lr"] == pytest.approx(0.001)
    times = [line["elapsed"] for line in lines]
    assert times == sorted(times)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    model = trained(tiny_recipe(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert "tiny: finished" in told(tiny_recipe(), tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    ignored = model.parent / ".lock"
    assert {**before, ignored: 0} == {**after, ignored: 0}


def test_first_weights_come_from_the_seed_alone(tmp_path: Path) -> None:
    """First weights come from the recipe's seed, and the process's own draws are left alone."""
    torch.manual_seed(1)
    one = reproduce(tiny_recipe(), steps=3, parents={}, work=tmp_path)
    state = torch.get_rng_state()
    two = reproduce(tiny_recipe(), steps=3, parents={}, work=tmp_path)
    assert one == two
    assert torch.equal(torch.get_rng_state(), state)
    assert one != reproduce(tiny_recipe(seed=1), steps=3, parents={}, work=tmp_path)


@pytest.mark.slow
def test_the_first_losses_can_be_had_again(tmp_path: Path) -> None:
    recipe = tiny_recipe(steps=60)
    model = trained(recipe, tmp_path)
    first = read_provenance(model).first_losses
    assert len(first) == 50
    assert json.loads((tmp_path / "tiny/first_losses.json").read_text()) == list(first)
    again = reproduce(recipe, steps=50, parents={}, work=tmp_path / "elsewhere")
    assert again == list(first)


@dataclass(frozen=True, kw_only=True)
class ChildTask(TinyTask):
    """Notes what it was given."""

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        given = {name: str(path) for name, path in parents.items()}
        (work / "given.json").write_text(json.dumps([given, str(data), device]))
        return super().prepare(parents, data, device, work)


def test_parents_come_first_and_hand_on_their_models(tmp_path: Path) -> None:
    parent = tiny_recipe("parent", seed=5)
    child = tiny_recipe("child", task=ChildTask(), parents=(parent,))
    model = trained(child, tmp_path / "out", data=tmp_path)
    assert model == tmp_path / "out/child/model"
    given = json.loads((tmp_path / "out/work/given.json").read_text())
    assert given == [{"parent": str(tmp_path / "out/parent/model")}, str(tmp_path), "cpu"]
    assert read_provenance(model).parents["parent"].hash == parent.hash()


def test_a_finished_parent_is_not_trained_again_for_another_child(tmp_path: Path) -> None:
    parent = tiny_recipe("parent")
    trained(tiny_recipe("one", parents=(parent,)), tmp_path)
    assert "parent: finished" in told(tiny_recipe("two", parents=(parent,)), tmp_path)


def test_minutes_end_a_run_with_its_schedule_complete(tmp_path: Path) -> None:
    recipe = tiny_recipe(steps=10**6, schedule=Schedule(decay=1.0), evaluate_every=10**6)
    model = trained(recipe, tmp_path, minutes=0.01)
    record, lines = read_provenance(model), metrics(tmp_path)
    assert 1 < record.steps == len(lines) < 10**6
    assert lines[-1]["elapsed"] > 0.59  # the clock is read once more after that
    rates = [line["lr"] for line in lines]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.9 * rates[0]


def test_minutes_must_be_some(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"minutes=0.0 is no time to train in"):
        train(tiny_recipe(), tmp_path, minutes=0.0)


@dataclass(frozen=True, kw_only=True)
class StoppedTask(TinyTask):
    """Sends its own process a signal at batch 11, the first time round."""

    number: int = 2
    marker: Path = Path()

    def batch(self, number: int) -> Batch:
        if number == 11 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), self.number)
        return super().batch(number)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-2), Muon(lr=1e-2)], ids=["adamw", "muon"])
def test_asked_to_stop_it_saves_and_goes_on_later(
    tmp_path: Path, name: str, optimizer: AdamW | Muon
) -> None:
    number = signal.Signals[name]
    handler = signal.getsignal(number)
    task = StoppedTask(number=number, marker=tmp_path / "asked")
    recipe = tiny_recipe(task=task, save_every=100, optimizer=optimizer)
    with pytest.raises(
        Cancelled, match=r"was stopped after step 1[0-3], which is saved in .*go on"
    ):
        trained(recipe, tmp_path / "stopped")
    assert signal.getsignal(number) is handler
    assert "going on from step 1" in told(recipe, tmp_path / "stopped")
    trained(recipe, tmp_path / "whole")
    ends = [tmp_path / way / "tiny/model/n.safetensors" for way in ("stopped", "whole")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path: Path) -> None:
    whole = trained(tiny_recipe(), tmp_path / "whole")
    model = trained(tiny_recipe(), tmp_path / "hurt")
    (model / "n.safetensors").unlink()
    (model / "provenance.json").unlink()
    model.rmdir()
    newest = model.parent / "checkpoints/step_00000020/weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    text = told(tiny_recipe(), tmp_path / "hurt")
    assert "step_00000020 is damaged" in text
    assert "going on from step 15" in text
    assert (model / "n.safetensors").read_bytes() == (whole / "n.safetensors").read_bytes()
    assert [line["step"] for line in metrics(tmp_path / "hurt")] == list(range(1, 21))


@dataclass(frozen=True, kw_only=True)
class BrokenTask(TinyTask):
    """A batch that holds no numbers."""

    def batch(self, number: int) -> Batch:
        batch = super().batch(number)
        assert batch.video is not None
        return Batch(video=batch.video * float("nan")) if number == 12 else batch


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    recipe = tiny_recipe(task=BrokenTask(), evaluate_every=100)
    with pytest.raises(TrainingError, match=r"broke down at step 13: loss nan.*of step 10 is kept"):
        trained(recipe, tmp_path)
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, 13))
    assert sorted(path.name for path in (tmp_path / "tiny/checkpoints").iterdir()) == [
        "step_00000005",
        "step_00000010",
    ]
    # The same command meets the same batch: nothing was poisoned, and nothing is silently skipped.
    with pytest.raises(TrainingError, match="broke down at step 13"):
        trained(recipe, tmp_path)


def test_a_folder_of_another_recipe_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    trained(tiny_recipe(), tmp_path)
    other = tiny_recipe(optimizer=AdamW(lr=0.02))
    with pytest.raises(TrainingError, match=r"another recipe: .*optimizer\.lr was 0.01, is 0.02\."):
        trained(other, tmp_path)


def test_a_conflict_is_seen_before_the_parents_are_trained(tmp_path: Path) -> None:
    trained(tiny_recipe("child", steps=1), tmp_path)
    child = tiny_recipe("child", steps=1, parents=(tiny_recipe("parent"),))
    with pytest.raises(TrainingError, match="child holds a run of another recipe"):
        trained(child, tmp_path)
    assert not (tmp_path / "parent" / "metrics.jsonl").exists()


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.txt").touch()
    with pytest.raises(TrainingError, match=r"holds other files, and no run. Choose another --out"):
        trained(tiny_recipe(), tmp_path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="tiny cannot be written: Not a directory"):
        trained(tiny_recipe(), tmp_path / "file")


def test_a_full_disk_at_the_end_is_said_and_made_good(tmp_path: Path) -> None:
    """Every file grows, the exported one past what is left; then room is made."""
    recipe = tiny_recipe(steps=2)
    big = tiny_recipe(task=BigExportTask(), steps=2)
    with (
        disk_full_after(100_000),
        pytest.raises(TrainingError, match=r"model cannot be written: .*run the command again"),
    ):
        trained(big, tmp_path / "full")
    assert not (tmp_path / "full/tiny/model").exists()
    model = trained(big, tmp_path / "full")
    due = trained(recipe, tmp_path / "roomy")
    assert (model / "n.safetensors").read_bytes() == (due / "n.safetensors").read_bytes()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    with (
        FileLock(tmp_path / "tiny" / ".lock"),
        pytest.raises(TrainingError, match="is being trained in by another process"),
    ):
        trained(tiny_recipe(), tmp_path)


@dataclass(frozen=True, kw_only=True)
class BigExportTask(TinyTask):
    """Exports a big file beside the network."""

    def prepare(
        self, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
    ) -> Run:
        def big_export(modules: Mapping[str, nn.Module], folder: Path) -> None:
            save_file({"zeros": torch.zeros(100_000)}, folder / "big.safetensors")
            export(modules, folder)

        return replace(super().prepare(parents, data, device, work), export=big_export)


@dataclass(frozen=True, kw_only=True)
class FrozenTask(TinyTask):
    """Nothing wants a gradient."""

    def objective(self) -> Objective:
        return Denoising(network().requires_grad_(False))


def test_nothing_to_train_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nothing to train: no parameter of .*\['network'\]"):
        trained(tiny_recipe(task=FrozenTask()), tmp_path)


@dataclass(frozen=True, kw_only=True)
class DropoutTask(TinyTask):
    """Draws from the global generator while it trains."""

    def objective(self) -> Objective:
        return Denoising(nn.Sequential(network(), nn.Dropout(0.5)))


def test_draws_that_no_checkpoint_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"draws from torch's global generator.*dropout to 0"):
        trained(tiny_recipe(task=DropoutTask()), tmp_path)


@dataclass(frozen=True, kw_only=True)
class RewrittenTask(TinyTask):
    """Code that was changed under a recipe that was not."""

    channels: int = field(default=3, compare=False)

    def objective(self) -> Objective:
        return Exact(nn.Sequential(nn.Conv2d(3, self.channels, 1), nn.Conv2d(self.channels, 3, 1)))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run = tiny_recipe(task=RewrittenTask())
    model = trained(run, tmp_path)
    model.rename(tmp_path / "moved")
    changed = tiny_recipe(task=RewrittenTask(channels=4))
    with pytest.raises(TrainingError, match=r"'network\.0\.bias' is \(3,\) there and \(4,\) here"):
        trained(changed, tmp_path)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="device='cuda:99' cannot train: this machine offers"):
        trained(tiny_recipe(), tmp_path, device="cuda:99")


def test_half_precision_without_matrix_units_is_said_to_be_single(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "has_fast_bf16", lambda device: False)
    assert "computing in fp32 instead" in told(tiny_recipe(precision="bf16", steps=2), tmp_path)


def test_half_precision_is_used_where_it_is_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "has_fast_bf16", lambda device: True)
    half = trained(tiny_recipe(precision="bf16", steps=2), tmp_path / "half")
    single = trained(tiny_recipe(precision="fp32", steps=2), tmp_path / "single")
    records = [read_provenance(model) for model in (half, single)]
    assert [record.precision for record in records] == ["bf16", "fp32"]
    losses = [record.first_losses for record in records]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    # On whatever machine, what a run recorded is what is begun again.
    monkeypatch.undo()
    for record, able in ((records[0], {}), (records[1], {"avx512_bf16": True})):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        with precision_as_recorded(record.precision):
            again = reproduce(
                tiny_recipe(precision="bf16", steps=2), steps=2, parents={}, work=tmp_path
            )
        assert tuple(again) == record.first_losses
