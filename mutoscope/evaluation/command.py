"""The command line of a measurement of one stage on test clips."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mutoscope.errors import MutoscopeError, RequestError
from mutoscope.evaluation.kept import Row
from mutoscope.evaluation.protocol import Prompt, prompts
from mutoscope.systems import load
from mutoscope.systems.lavie import LaVie
from mutoscope.video.atomic import check_place


def on_clips(
    name: str,
    stage: str,
    said: tuple[str, str, str],
    measure: Callable[[LaVie, Sequence[Prompt], Path, Callable[[int], None]], list[Row]],
    report: Callable[[LaVie, Sequence[Row], Sequence[Prompt], Path], str],
    arguments: Sequence[str] | None,
) -> None:
    """Measures what the command line asks for; what cannot be measured is one line.

    Args:
        name: Of the module, and of the report in the folder that is asked for.
        stage: Of the model.
        said: What the stage is called, the recipe that trains it, and what goes on meanwhile.
        measure: Gives the figures of all clips, and calls with how many are done.
        report: Writes all results and gives the table.
        arguments: Of the command line; None for this process's.
    """
    noun, recipe, doing = said
    parser = argparse.ArgumentParser(prog=f"python -m mutoscope.evaluation.{name}")
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=400, help="the first so many test clips")
    parser.add_argument("--model", default="lavie-mini", help="known name or folder")
    asked = parser.parse_args(arguments)
    try:
        check_place(asked.out / f"{name}.md")
        system = load(asked.model)
        if not isinstance(system, LaVie) or stage not in system.stages:
            raise RequestError(
                f"{asked.model} has no {noun} to measure. Train one with `mutoscope train "
                f"mini:{recipe}`, or give another --model."
            )
        if asked.clips < 4:
            raise RequestError(f"--clips {asked.clips} is too few for an interval. Use e.g. 400.")
        shown = prompts(asked.clips)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(doing, total=len(shown))
            rows = measure(
                system, shown, asked.out, lambda done: progress.update(task, completed=done)
            )
        Console().print(report(system, rows, shown, asked.out), highlight=False, markup=False)
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
