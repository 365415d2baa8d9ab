"""One optimizer step after another: everything of a run that changes, and how a step changes it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import Generator, Tensor, nn

from mutoscope.errors import TrainingError
from mutoscope.training.checkpoint import Checkpoint
from mutoscope.training.ema import Average
from mutoscope.training.log import Figures
from mutoscope.training.optim import TIMES
from mutoscope.training.precision import has_fast_bf16
from mutoscope.training.recipe import Modules, Recipe
from mutoscope.types import Batch, Objective


def accelerator_for(recipe: Recipe, device: str) -> Accelerator:
    """The device and the precision of a run.

    bf16 is used where the recipe wants it and the device multiplies it faster: a GPU, or a CPU with
    AMX or AVX512-BF16. On other CPUs it is several times slower, so there fp32 stands in.

    Raises:
        TrainingError: The machine has no such device, or several processes were launched.
    """
    # Accelerate keeps one state for the life of a process; a chain changes precision on its way.
    AcceleratorState._reset_state(reset_partial_state=True)
    wanted = torch.device(device)
    half = recipe.precision == "bf16" and has_fast_bf16(wanted)
    accelerator = Accelerator(
        cpu=wanted.type == "cpu",
        mixed_precision="bf16" if half else "no",
        gradient_accumulation_steps=recipe.accumulate,
    )
    found = accelerator.device
    if found.type != wanted.type or (wanted.index or 0) != (found.index or 0):
        raise TrainingError(
            f"device={device!r} cannot train: this machine offers {found}. Use --device {found} "
            "or cpu, and CUDA_VISIBLE_DEVICES to choose among GPUs."
        )
    if PartialState().num_processes > 1:
        raise TrainingError(
            f"{PartialState().num_processes} processes were launched: a run is one process. Start "
            "it without `accelerate launch`."
        )
    return accelerator


class Learner:
    """A run in memory: weights, their average, optimizer, noise generator and position.

    Args:
        recipe: What to do.
        objective: What to train; its modules move to the accelerator's device and into training
            mode.
        accelerator: Device and precision.

    Raises:
        TrainingError: Nothing in the objective's modules wants a gradient.
    """

    def __init__(self, recipe: Recipe, objective: Objective, accelerator: Accelerator) -> None:
        self.recipe = recipe
        self.objective = objective
        self.accelerator = accelerator
        self.modules: Modules = dict(objective.modules())
        for module in self.modules.values():
            module.to(accelerator.device).train()
        self.parameters = trained_parameters(self.modules)
        if not self.parameters:
            raise TrainingError(
                f"{recipe.name!r} has nothing to train: no parameter of its modules "
                f"{sorted(self.modules)} has requires_grad. Unfreeze what shall be trained."
            )
        self.optimizers = recipe.optimizer.build(self.parameters)
        self.average = Average(self.parameters, decay=recipe.ema)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.step = 0
        self._draws_checked = False

    @property
    def next_batch(self) -> int:
        """Number of the batch that comes next."""
        return self.step * self.recipe.accumulate

    def advance(self, batches: Iterator[Batch], progress: float) -> Figures:
        """Does one step.

        Args:
            batches: The next batches in order, from `next_batch` on.
            progress: Share of the run that lies behind, in [0, 1).

        Returns:
            What the step measured: "loss", whatever the objective reports, and "grad_norm" before
            clipping; with accumulation, means over the batches.
        """
        lr = self.recipe.optimizer.lr * self.recipe.schedule.factor(self.step, progress)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get(TIMES, 1.0)
        reports, samples = [], 0
        for batch in islice(batches, self.recipe.accumulate):
            reports.append(self._accumulate(batch))
            samples += num_samples(batch)
        norm = self.accelerator.clip_grad_norm_(
            self.parameters.values(), self.recipe.optimizer.clip
        )
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.average.update()
        self.step += 1
        # Batches may differ in what they report: stills, for one, have no motion.
        names = {name: None for report in reports for name in report}
        mean = {
            name: torch.stack([report[name] for report in reports if name in report]).mean()
            for name in names
        }
        tensors = {**mean, "grad_norm": norm}
        return Figures(step=self.step, tensors=tensors, lr=lr, samples=samples)

    def _accumulate(self, batch: Batch) -> dict[str, Tensor]:
        batch = batch.to(str(self.accelerator.device))
        before = self._global_draws()
        if self.recipe.parts == 1:
            report = self._differentiate(batch, self.generator)
        else:
            report = self._side_by_side(batch)
        self._check_draws(before)
        return report

    def _side_by_side(self, batch: Batch) -> dict[str, Tensor]:
        """The mean of the batch's parts, each computed by a thread of its own.

        Both threads add to the same gradients. A sum of two numbers does not depend on their order,
        so the gradients are the same bits whichever comes first.
        """
        parts = batch.split(self.recipe.parts)
        seeds = torch.randint(2**62, (len(parts),), generator=self.generator).tolist()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(len(parts), thread_name_prefix="parts") as pool:
            share = max(1, threads // len(parts))
            work = [
                pool.submit(self._with_threads, share, part, generator)
                for part, generator in zip(parts, generators, strict=True)
            ]
            reports = [each.result() for each in work]
        return {name: torch.stack([each[name] for each in reports]).mean() for name in reports[0]}

    def _with_threads(self, threads: int, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        torch.set_num_threads(threads)
        return self._differentiate(batch, generator, share=1 / self.recipe.parts)

    def _differentiate(
        self, batch: Batch, generator: Generator, *, share: float = 1.0
    ) -> dict[str, Tensor]:
        """Adds the gradients of `share` times the loss; what it measured."""
        with self.accelerator.autocast():
            loss = self.objective.loss(batch, generator)
        self.accelerator.backward(loss.value * share if share != 1 else loss.value)
        scalars = {"loss": loss.value, **loss.report}
        device = self.accelerator.device
        return {name: value.detach().float().to(device) for name, value in scalars.items()}

    def _global_draws(self) -> list[Tensor]:
        """State of torch's global generators; only looked at around a process's first loss."""
        if self._draws_checked:
            return []
        states = [torch.get_rng_state()]
        if self.accelerator.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.accelerator.device))
        return states

    def _check_draws(self, before: list[Tensor]) -> None:
        after = self._global_draws()
        if any(not torch.equal(old, new) for old, new in zip(before, after, strict=True)):
            raise TrainingError(
                f"The loss of {self.recipe.name!r} draws from torch's global generator, which no "
                "checkpoint holds, so a stopped run could not go on as it was. Draw from the "
                "generator that loss() is given, and set dropout to 0."
            )
        self._draws_checked = True

    def _optimizer_states(self) -> dict[nn.Parameter, dict[str, Tensor]]:
        """What an optimizer remembers of each parameter: the dictionaries themselves."""
        return {
            parameter: optimizer.state[parameter]
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def checkpoint(self, elapsed: float) -> Checkpoint:
        """The run as it stands between two steps; `elapsed` are its seconds so far."""
        moving = self._optimizer_states()
        states = {
            f"{name}/{key}": value
            for name, parameter in self.parameters.items()
            for key, value in moving[parameter].items()
        }
        return Checkpoint(
            step=self.step,
            batch=self.next_batch,
            elapsed=elapsed,
            recipe_hash=self.recipe.hash(),
            generator=self.generator.get_state(),
            weights={**self.parameters, **saved_buffers(self.modules)},
            average=self.average.weights,
            optimizer=states,
        )

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint, bit for bit.

        Raises:
            TrainingError: Its tensors are not those of this model.
        """
        held = {**self.parameters, **saved_buffers(self.modules)}
        _check_shapes(held, checkpoint.weights, "weights", checkpoint.step)
        _check_shapes(self.average.weights, checkpoint.average, "average", checkpoint.step)
        for name, value in checkpoint.weights.items():
            held[name].copy_(value)
        for name, value in checkpoint.average.items():
            self.average.weights[name].copy_(value)
        moving = self._optimizer_states()
        for key, value in checkpoint.optimizer.items():
            name, _, kind = key.rpartition("/")
            parameter = self.parameters[name]
            # The fused optimizer walks memory, so its tensors need the parameter's own layout.
            like = parameter if value.shape == parameter.shape and value.ndim else None
            fresh = torch.empty_like(like if like is not None else value, device=parameter.device)
            moving[parameter][kind] = fresh.detach().copy_(value)
        self.generator.set_state(checkpoint.generator)
        self.step = self.average.updates = checkpoint.step


def num_samples(batch: Batch) -> int:
    """How many clips or stills a batch holds."""
    tensors = (batch.video, batch.latents, *batch.labels.values())
    sizes = [tensor.shape[0] for tensor in tensors if tensor is not None]
    return max(sizes, default=len(batch.captions))


def trained_parameters(modules: Modules) -> dict[str, nn.Parameter]:
    """Every parameter that wants a gradient, once, as `module name.parameter name`."""
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                found[f"{prefix}.{name}"] = parameter
    return found


def saved_buffers(modules: Modules) -> dict[str, Tensor]:
    """Every buffer that belongs to a module's state, once, as `module name.buffer name`."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, module in modules.items():
        buffers = dict(module.named_buffers())
        for name in module.state_dict():
            if name in buffers and id(buffers[name]) not in seen:
                seen.add(id(buffers[name]))
                found[f"{prefix}.{name}"] = buffers[name]
    return found


def _check_shapes(
    held: dict[str, Tensor] | dict[str, nn.Parameter], saved: object, what: str, step: int
) -> None:
    assert isinstance(saved, dict)
    ours = {name: tuple(value.shape) for name, value in held.items()}
    theirs = {name: tuple(value.shape) for name, value in saved.items()}
    differing = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    if differing:
        name = differing[0]
        raise TrainingError(
            f"The {what} of the checkpoint of step {step} do not fit the model: {name!r} is "
            f"{theirs.get(name)} there and {ours.get(name)} here, and {len(differing)} tensors "
            "differ in all. Go on with the code that wrote it, or choose another --out."
        )
