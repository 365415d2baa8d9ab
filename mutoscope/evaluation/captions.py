"""How much of what captions state a linear probe reads from the states of a model's text encoder.

Command: `python -m mutoscope.evaluation.captions OUT [--captions N] [--model NAME]`. It writes
`OUT/captions.md` and `OUT/captions.json`: captions of clips, and of stills with their styles and
image-only shapes, 12,000 of each.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mutoscope.encoding.text import TextEncoder
from mutoscope.errors import MutoscopeError, RequestError
from mutoscope.evaluation.run import circumstances
from mutoscope.metrics.captions import STATED, probe_captions
from mutoscope.systems import load
from mutoscope.systems.lavie import LaVie
from mutoscope.video.atomic import check_place, whole
from mutoscope.world.factors import Kind

FEWEST = 400
"""Captions below which some value may be missing among those that fit a probe."""


def markdown(found: Mapping[Kind, Mapping[str, float]], facts: Mapping[str, object]) -> str:
    """The table, and what it takes to make it again."""
    factors = list(dict.fromkeys(name for row in found.values() for name in row))
    lines = ["| % read right | " + " | ".join(factors) + " |", "|---" * (len(factors) + 1) + "|"]
    for kind, row in found.items():
        cells = (f"{100 * row[name]:.1f}" if name in row else "" for name in factors)
        lines.append(f"| captions of one object, {kind}s | " + " | ".join(cells) + " |")
    lines += ["", "; ".join(f"{name}: {value}" for name, value in facts.items()) + "."]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for; what cannot be measured is one line."""
    parser = argparse.ArgumentParser(prog="python -m mutoscope.evaluation.captions")
    parser.add_argument("out", type=Path)
    parser.add_argument("--captions", type=int, default=12_000, help="of each kind")
    parser.add_argument("--model", default="lavie-mini", help="known name or folder")
    asked = parser.parse_args(arguments)
    try:
        if asked.captions < FEWEST:
            raise RequestError(
                f"--captions {asked.captions} is too few to fit a probe. Use {FEWEST} or more."
            )
        check_place(asked.out / "captions.md")
        system = load(asked.model)
        if not isinstance(system, LaVie):
            raise RequestError(f"{asked.model} is no LaVie. Give another --model.")
        text = TextEncoder(system.text_encoder, system.tokenizer)
        found = {kind: probe_captions(text, count=asked.captions, kind=kind) for kind in STATED}
        facts = {"captions of each": asked.captions, **circumstances(system)}
        table = markdown(found, facts)
        with whole(asked.out / "captions.json") as draft:
            draft.write_text(json.dumps({**facts, "right": found}, indent=1), "utf-8")
        with whole(asked.out / "captions.md") as draft:
            draft.write_text(table, "utf-8")
        Console().print(table, highlight=False, markup=False, soft_wrap=True)
    except MutoscopeError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
