"""`mutoscope evaluate`: how often a model draws what it is told, read back by the oracle."""

from pathlib import Path
from typing import Annotated

from typer import Option

from mutoscope.errors import Cancelled, RequestError


def evaluate(
    out: Annotated[Path, Option(help="Folder for report.md, report.json and sheet.png.")],
    model: Annotated[
        str, Option(help="Folder, known name, or OWNER/NAME on the Hub.")
    ] = "lavie-mini",
    split: Annotated[str, Option(help="test or held-out.")] = "test",
    prompts: Annotated[int, Option(help="How many prompts of the split, from its first.")] = 200,
    seeds: Annotated[int, Option(help="Videos of each prompt.")] = 2,
) -> None:
    """Score a model of the world on captions whose truth is known.

    What was read is kept in --out: after a stop the same command goes on from there.
    """
    if split not in ("test", "held-out") or prompts < 1 or seeds < 1:
        raise RequestError(
            f"--split {split} --prompts {prompts} --seeds {seeds} measures nothing: the splits are "
            "test and held-out, and there is at least one prompt and seed. Change these."
        )

    from rich.console import Console

    from mutoscope.evaluation import protocol
    from mutoscope.evaluation.run import evaluate as measure
    from mutoscope.metrics.oracle import needed_oracle
    from mutoscope.systems import load
    from mutoscope.training.log import Display

    system, oracle = load(model), needed_oracle()
    asked = protocol.prompts(prompts, split="held-out" if split == "held-out" else "test")
    console = Console(stderr=True)
    with Display("evaluate", console=console, seconds_apart=0.0, share_apart=0.05) as display:
        try:
            measure(
                system,
                oracle,
                asked,
                seeds=range(seeds),
                out=out,
                on_clip=lambda kind, done, total: display.show(
                    done / total, f"{kind}: {done} of {total}"
                ),
            )
        except KeyboardInterrupt as stop:
            raise Cancelled(
                f"stopped by Ctrl-C; what was read so far is kept in {out}. Run the same command "
                "again to go on."
            ) from stop
    print((out / "report.md").read_text(encoding="utf-8"))
