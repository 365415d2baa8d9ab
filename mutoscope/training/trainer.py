"""Training: a recipe and its parents become folders of weights; a stopped run goes on."""

import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch
from filelock import FileLock, Timeout
from rich.console import Console
from safetensors import SafetensorError

from mutoscope.errors import Cancelled, RequestError, TrainingError
from mutoscope.training import checkpoint as checkpoints
from mutoscope.training.footage import check_footage, keep_footage
from mutoscope.training.initialise import from_seed
from mutoscope.training.learner import Learner, accelerator_for
from mutoscope.training.log import Display, Figures, MetricsFile, losses, read_out, told
from mutoscope.training.prefetch import prefetched
from mutoscope.training.provenance import (
    Ancestor,
    Provenance,
    read_provenance,
    versions,
    write_provenance,
)
from mutoscope.training.recipe import Recipe, Run

SECONDS_BETWEEN_SAVES = 300.0
SECONDS_BETWEEN_READINGS = 0.5
NUM_FIRST_LOSSES = 50


def train(
    recipe: Recipe,
    out: Path,
    *,
    data: Path | None = None,
    device: str = "cpu",
    minutes: float | None = None,
    console: Console | None = None,
) -> Path:
    """Trains a recipe, its parents first, each in its own folder below `out`.

    A finished run is left as it is and needs no parents; a stopped one goes on from its last
    checkpoint and, unless `minutes` ties it to the clock, ends with the weights of a run that never
    stopped, bit for bit (on a CPU with the same number of threads).

    Args:
        recipe: What to train.
        out: Folder of the chain; made if it does not exist.
        data: The user's videos, or None for the built-in world.
        device: Where to train: "cpu" or "cuda".
        minutes: Wall clock that ends this recipe (not its parents) before its steps do, above 0.
        console: Where progress is written; by default the error stream.

    Returns:
        The folder of the exported model, `out/NAME/model`.

    Raises:
        RequestError: `minutes` is not above 0, or the recipe needs videos and there are none.
        TrainingError: The run cannot start, go on or be resumed; the message says why.
        Cancelled: Ctrl-C or SIGTERM asked it to stop; the run is saved.
    """
    if minutes is not None and not minutes > 0:
        raise RequestError(f"minutes={minutes} is no time to train in: give more than 0.")
    console = console or Console(stderr=True)
    folder = out / recipe.name
    links = _at_hand(recipe, out)
    for link in links:
        if link.needs_data and data is None:
            raise RequestError(
                f"{link.name} learns from your videos, and none are given. Give --data FOLDER with "
                "NAME.mp4 beside its caption NAME.txt."
            )
    for link in links:  # all before any is trained, as that may take hours
        claim(link, out / link.name)
        check_footage(out / link.name, data)
    if (folder / "model").exists():
        console.print(f"{recipe.name}: finished, {folder / 'model'}", highlight=False)
        return folder / "model"
    parents = {
        parent.name: train(parent, out, data=data, device=device, console=console)
        for parent in recipe.parents
    }
    with _held(folder):
        if (folder / "model").exists():  # another process was faster
            return folder / "model"
        session = _Session(recipe, folder, parents, device=device, console=console)
        session.begin(data)
        try:
            session.go_on(minutes)
            return session.export()
        finally:
            session.metrics.close()


def reproduce(
    recipe: Recipe,
    *,
    steps: int,
    parents: Mapping[str, Path],
    work: Path,
    data: Path | None = None,
    device: str = "cpu",
    on_step: Callable[[int], object] = lambda step: None,
) -> list[float]:
    """The losses of a recipe's first steps, trained anew in memory.

    Args:
        recipe: What to train.
        steps: How many, from 1 to the recipe's own.
        parents: The exported folder of each parent, by name.
        work: A folder for what the task computes once.
        data: The user's videos, or None for the built-in world.
        device: Where to train.
        on_step: Called with the number of each step, from 1 on, when it is done.

    Returns:
        One loss a step, as `first_losses` of the run's provenance has them. Where `minutes` ended
        that run they agree as long as the schedule had not begun to fall.
    """
    accelerator = accelerator_for(recipe, device)
    run = _prepare(recipe, parents, data, device, work)
    learner = Learner(recipe, run.objective, accelerator)
    with prefetched(run.batches, start=0) as batches:
        figures = []
        for step in range(min(steps, recipe.steps)):
            figures.append(learner.advance(batches, step / recipe.steps))
            on_step(step + 1)
    return [record["loss"] for record in read_out(figures)]


class _Session:
    """One process's part of a run: the loop, and what it leaves in the run's folder."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        parents: Mapping[str, Path],
        *,
        device: str,
        console: Console,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.parents = parents
        self.device = device
        self.display = Display(recipe.name, console=console)
        self.unread: list[Figures] = []

    def begin(self, data: Path | None) -> None:
        """Builds the run and takes it to where its last checkpoint left it."""
        recipe, display = self.recipe, self.display
        work = self.folder.parent / "work"
        work.mkdir(exist_ok=True)
        accelerator = accelerator_for(recipe, self.device)
        self.run = _prepare(recipe, self.parents, data, self.device, work)
        if self.run.of_data:
            keep_footage(self.folder, data)
        if recipe.precision == "bf16" and accelerator.mixed_precision == "no":
            display.say("bf16 is slow on this device; computing in fp32 instead")
        self.learner = Learner(recipe, self.run.objective, accelerator)
        saved = checkpoints.load_newest(
            self.folder / "checkpoints", recipe_hash=recipe.hash(), notice=display.say
        )
        if saved is not None:
            self.learner.restore(saved)
            display.say(f"going on from step {saved.step}")
        self.saved_step = self.learner.step
        self.metrics = MetricsFile(self.folder / "metrics.jsonl", last_step=self.learner.step)
        self.clock_offset = (saved.elapsed if saved else 0.0) - time.monotonic()
        self.last_save = self.last_reading = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training, those of earlier sessions included."""
        return time.monotonic() + self.clock_offset

    def go_on(self, minutes: float | None) -> None:
        """Trains to the end of the run, or until asked to stop."""

        def progress() -> float:
            clock = self.elapsed / (60 * minutes) if minutes is not None else 0.0
            return max(self.learner.step / self.recipe.steps, clock)

        with (
            self.display,
            prefetched(self.run.batches, start=self.learner.next_batch) as batches,
            _asked_to_stop() as asked,
        ):
            done = progress()
            while done < 1:
                figures = self.learner.advance(batches, done)
                self.unread.append(replace(figures, elapsed=self.elapsed))
                done = progress()
                if done >= 1 or time.monotonic() - self.last_reading >= SECONDS_BETWEEN_READINGS:
                    self._read(min(done, 1.0))
                if done >= 1 or self.learner.step % self.recipe.evaluate_every == 0:
                    self._evaluate()
                stop = asked.is_set()  # once: a signal between two looks would go without a save
                if done >= 1 or stop or self._is_save_due():
                    self._save()
                if stop and done < 1:
                    raise Cancelled(
                        f"{self.recipe.name} was stopped after step {self.learner.step}, which is "
                        f"saved in {self.folder}. Run the same command again to go on."
                    )

    def export(self) -> Path:
        """Writes the averaged weights and where they come from, whole or not at all."""
        place, draft = self.folder / "model", self.folder / ".model.partial"
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            with self.learner.average.in_place(self.learner.modules) as modules:
                self.run.export(modules, draft)
            record = write_provenance(self._provenance(), draft)
            _write_json(self.folder / "first_losses.json", record.first_losses)
            os.rename(draft, place)
            checkpoints.sync(self.folder)
        except (OSError, SafetensorError) as error:
            raise _unwritable(place, error) from error
        self.display.say(f"finished, {record.steps} steps in {record.minutes} minutes: {place}")
        return place

    def _provenance(self) -> Provenance:
        first = losses(self.folder / "metrics.jsonl", count=NUM_FIRST_LOSSES)
        ancestors = {name: read_provenance(path) for name, path in self.parents.items()}
        return Provenance(
            recipe=self.recipe.name,
            hash=self.recipe.hash(),
            description=self.recipe.describe(),
            steps=self.learner.step,
            minutes=round(self.elapsed / 60, 2),
            device=self.device,
            parents={name: Ancestor(one.hash, one.steps) for name, one in ancestors.items()},
            versions=versions(),
            first_losses=tuple(first),
            precision="bf16" if self.learner.accelerator.mixed_precision == "bf16" else "fp32",
        )

    def _read(self, progress: float | None = None) -> None:
        """Fetches what steps measured: seldom, as on a GPU the host must wait for it."""
        if not self.unread:
            return
        records = read_out(self.unread)
        # Only now are these steps surely done: a GPU is handed them faster than it does them.
        seconds = max(time.monotonic() - self.last_reading, 1e-9)
        rate = sum(entry.samples for entry in self.unread) / seconds
        self.unread = []
        self.last_reading = time.monotonic()
        for number, record in enumerate(records):
            if not (math.isfinite(record["loss"]) and math.isfinite(record["grad_norm"])):
                self.metrics.write(records[:number])
                raise TrainingError(
                    f"{self.recipe.name} broke down at step {record['step']}: loss "
                    f"{record['loss']}, gradient norm {record['grad_norm']}. The checkpoint of "
                    f"step {self.saved_step} is kept. Lower the step size or the clipping norm."
                )
            record["samples_per_second"] = rate
        self.metrics.write(records)
        if progress is not None:
            self.display.show(progress, told(records[-1], self.recipe.steps))

    def _evaluate(self) -> None:
        self._read()
        if self.run.evaluate is None:
            return
        step = self.learner.step
        folder = self.folder / "samples" / f"step_{step:08d}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.learner.average.in_place(self.learner.modules) as modules, torch.no_grad():
                found = dict(self.run.evaluate(modules, step, folder))
        except OSError as error:
            raise _unwritable(folder, error) from error
        self.metrics.write([{"step": step, "evaluation": found}])
        figures = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
        self.display.say(f"step {step}: {figures}")
        self.last_reading = time.monotonic()  # throughput is that of training alone

    def _is_save_due(self) -> bool:
        by_step = self.learner.step - self.saved_step >= self.recipe.save_every
        return by_step or time.monotonic() - self.last_save >= SECONDS_BETWEEN_SAVES

    def _save(self) -> None:
        self._read()  # figures first: a checkpoint promises the lines of all steps before it
        self.metrics.sync()
        checkpoints.save(self.learner.checkpoint(self.elapsed), self.folder / "checkpoints")
        self.saved_step = self.learner.step
        self.last_save = self.last_reading = time.monotonic()


def _prepare(
    recipe: Recipe, parents: Mapping[str, Path], data: Path | None, device: str, work: Path
) -> Run:
    return from_seed(recipe.seed, lambda: recipe.task.prepare(parents, data, device, work))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keeps other processes from training in the same folder; a killed one lets go by itself."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise TrainingError(
            f"{folder} is being trained in by another process. Wait for it, stop it, or choose "
            "another --out."
        ) from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _at_hand(recipe: Recipe, out: Path) -> tuple[Recipe, ...]:
    """A recipe and those that it takes to train it, parents first: none for what is finished."""
    if (out / recipe.name / "model").exists():
        return (recipe,)
    links = (link for parent in recipe.parents for link in _at_hand(parent, out))
    return (*{link.name: link for link in links}.values(), recipe)


def claim(recipe: Recipe, folder: Path) -> None:
    """Makes `folder` the recipe's own, or checks that it is."""
    path = folder / "recipe.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = json.loads(path.read_text())
            if found["hash"] != recipe.hash():
                raise TrainingError(
                    f"{folder} holds a run of another recipe: {found['hash']} there, "
                    f"{recipe.hash()} asked for; {_difference(found['values'], recipe)}. Choose "
                    "another --out, or delete that folder."
                )
            return
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise TrainingError(
                f"{folder} holds other files, and no run. Choose another --out, or empty it."
            )
        _write_json(
            path,
            {
                "hash": recipe.hash(),
                "values": recipe.canonical(),
                "description": recipe.describe().splitlines(),
            },
        )
    except OSError as error:
        raise _unwritable(folder, error) from error


def _difference(found: object, recipe: Recipe) -> str:
    """Which value of a recipe is another one in the run that is there already."""

    def walk(there: object, here: object, where: str) -> str | None:
        if isinstance(there, dict) and isinstance(here, dict):
            pairs = ((key, there.get(key), here.get(key)) for key in sorted({*there, *here}))
            found = (walk(old, new, f"{where}.{key}") for key, old, new in pairs)
            return next((line for line in found if line), None)
        return None if there == here else f"{where[1:]} was {there}, is {here}"

    return walk(found, json.loads(json.dumps(recipe.canonical())), "") or "the values are the same"


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Turns Ctrl-C and SIGTERM into a flag, so that a run stops between steps; twice is at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread receives signals
        return

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_json(path: Path, content: object) -> None:
    draft = path.with_name(f".{path.name}.partial")
    draft.write_text(json.dumps(content, indent=1) + "\n")
    checkpoints.sync(draft)
    os.replace(draft, path)


def _unwritable(place: Path, error: Exception) -> TrainingError:
    reason = getattr(error, "strerror", None) or error
    return TrainingError(
        f"{place} cannot be written: {reason}. Choose another --out, make room, or make it "
        "writable, and run the command again."
    )
