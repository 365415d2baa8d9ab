"""Where memory runs out, what is done is kept, and the rest is done with less at once."""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from mutoscope.cli.making import Settings, open_for, open_planned, planned, task_for
from mutoscope.errors import RequestError, is_out_of_memory
from mutoscope.metrics.health import Look
from mutoscope.systems import System
from mutoscope.systems.cascade import UPSCALE
from mutoscope.systems.cuts import Cuts
from mutoscope.systems.lavie import LaVie
from mutoscope.systems.load import outline
from mutoscope.systems.plan import DECODE, ENLARGED, LARGE_TEXT, TEXT, Plan
from mutoscope.types import Latents

T = TypeVar("T")


@dataclass
class Work:
    """A video on its way, as far as it has come.

    Attributes:
        system: The model.
        settings: What is made.
        cuts: How much is done at once; None for as much as the networks learned.
        done: The last stage that is done, and what it made; None before the first is.
        look: What the key frames look like; None before they are there.
        outlined: The model without weights, for plans; None until memory runs out.
    """

    system: System
    settings: Settings
    cuts: Cuts | None
    done: tuple[str, Latents] | None = None
    look: Look | None = None
    outlined: System | None = field(default=None, repr=False)

    @property
    def stages_left(self) -> list[str]:
        """The stages that have yet to run."""
        stages = self.settings.stages.split(",")
        return stages if self.done is None else stages[stages.index(self.done[0]) + 1 :]

    def turn_to(self, settings: Settings) -> None:
        """Begins another video of the same model; where memory ran out, it has as little from the
        start."""
        if limits := self.settings.limits:
            settings = replace(settings, memory=limits[-1][1])
        if self.settings.narrowed:
            self.system, self.cuts = open_for(settings)
        self.settings, self.done, self.look = settings, None, None

    def carry_on(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns. Where memory runs out in it, it is called again, with less of
        what is left to do done at once, by one step of those that a plan knows.

        Args:
            attempt: Does what is left to do, as these attributes say, and keeps `done` up to date.

        Raises:
            RequestError: Memory runs out however the work is cut.
        """
        while True:
            try:
                return attempt()
            except Exception as error:
                # A plan knows nothing of what is reused, nor of compiled networks.
                unplanned = self.settings.reuse or self.settings.compiled
                if not is_out_of_memory(error) or unplanned:
                    raise
            # Out here nothing holds the error, whose traceback holds all that took the memory.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._take_less()

    def _take_less(self) -> None:
        limits = self.settings.limits
        now = self._plan(limits[-1][1] if limits else "")
        stage = next(iter(self.stages_left), DECODE)
        here = max(line.peak for line in now.lines if line.name in self._parts_at_work(stage))
        memory = f"{(here - 1) // 10**5 / 10:g}MB"
        try:
            made = self._plan(memory)
        except RequestError as error:
            raise RequestError(
                f"there is not enough memory for this: it ran out in {stage}, and the work cannot "
                "be cut smaller. Ask for fewer frames, a smaller size, or --dtype bf16."
            ) from error
        settings, before = self.settings, self.settings.stages_before(stage)
        if made.offload != now.offload:
            for module in self.system.components.values():
                if isinstance(module, nn.Module):
                    nn.Module.to(module, "meta")  # whoever else holds it, its memory is free
            self.system = open_planned(settings.model, settings.device, made, settings.lora)
        assert isinstance(self.system, LaVie)
        self.cuts = made.cuts.beginning_with(
            self.cuts or self.system.usual_cuts(settings.device), before
        )
        # What ran out before in the same stage had no effect.
        others = [each for each in settings.narrowed.split(",") if each.split()[:1] != [stage]]
        narrowed = ",".join([*filter(None, others), f"{stage} {memory}"])
        self.settings = replace(settings, narrowed=narrowed)
        print(
            f"mutoscope: memory ran out in {stage}; going on from there with less at once, as for "
            f"--memory {memory}.",
            file=sys.stderr,
        )

    def _parts_at_work(self, stage: str) -> set[str]:
        """The parts of a plan that may have been at work before a stage was done."""
        parts = {TEXT, stage}
        if self.done is not None:
            parts |= {DECODE}  # frames of a preview, or what is to be enlarged
        return parts | {LARGE_TEXT, ENLARGED} if stage == UPSCALE else parts

    def _plan(self, memory: str) -> Plan:
        told = self.settings
        # One for all plans: what a part costs, cut like this, is then computed once.
        self.outlined = self.outlined or outline(told.model)
        task = partial(task_for, settings=told)
        return planned(
            self.outlined, told.device, told.dtype, memory, task, resident=bool(told.lora)
        )
