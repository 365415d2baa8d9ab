"""The command lines of measurements: of one stage on test clips, and of drawn videos."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mutoscope.errors import MutoscopeError, RequestError
from mutoscope.evaluation.kept import Row, folder_of, kept
from mutoscope.evaluation.protocol import Prompt, prompts
from mutoscope.metrics.oracle import Oracle, needed_oracle
from mutoscope.systems import System, load
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


def on_videos(
    name: str,
    usual: tuple[int, int],
    said: str,
    choose: Callable[[int], list[Prompt]],
    check: Callable[[System, str], LaVie],
    measure: Callable[[LaVie, Oracle, Prompt, int], Row],
    report: Callable[[LaVie, Sequence[Row], Sequence[Prompt], int, Path], str],
    arguments: Sequence[str] | None,
) -> None:
    """Draws some videos of each prompt and reads them; what cannot be measured is one line.

    Video k of prompt i has seed `1000 i + k`, and all prompts with the first come first.

    Args:
        name: Of the module, and of the report in the folder that is asked for.
        usual: Prompts, and videos of each, if nothing is said.
        said: What is taken of the test prompts.
        choose: Gives so many of them.
        check: Gives the model back, or raises `RequestError` if it cannot be measured.
        measure: Gives the figures of one video.
        report: Writes all results and gives the table.
        arguments: Of the command line; None for this process's.
    """
    parser = argparse.ArgumentParser(prog=f"python -m mutoscope.evaluation.{name}")
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompts", type=int, default=usual[0], help=said)
    parser.add_argument("--seeds", type=int, default=usual[1], help="videos of each")
    parser.add_argument("--model", default="lavie-mini", help="known name or folder")
    given = parser.parse_args(arguments)
    try:
        if given.prompts < 2 or given.seeds < 1:
            raise RequestError(
                f"--prompts {given.prompts} --seeds {given.seeds} is too little for an interval. "
                f"Use e.g. {usual[0]} and {usual[1]}."
            )
        check_place(given.out / f"{name}.md")
        system, oracle = check(load(given.model), given.model), needed_oracle()
        asked = choose(given.prompts)

        def one(number: int) -> Row:
            seed, prompt = divmod(number, len(asked))
            return measure(system, oracle, asked[prompt], 1000 * prompt + seed)

        count = given.seeds * len(asked)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("drawing and reading", total=count)
            rows = kept(
                folder_of(given.out, system, asked, oracle=oracle.hash()),
                range(count),
                one,
                lambda done: progress.update(task, completed=done),
            )
        text = report(system, rows, asked, given.seeds, given.out)
        Console().print(text, highlight=False, markup=False, soft_wrap=True)
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
