"""`mutoscope personalize`: a model is taught a word by a few pictures."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def personalize(
    pictures: Annotated[
        Path, Argument(help="Folder of pictures, best ten or so, of one thing; see below.")
    ],
    name: Annotated[str, Option(help="What to call it: a word that the model does not know.")],
    out: Annotated[Path, Option(help="Folder to write, for generate --lora; must not exist.")],
    model: Annotated[str, Option(help="Known name or folder.")] = "lavie-mini",
    like: Annotated[
        str,
        Option(
            help="Words for things of its kind that the model knows, with commas between; in a "
            "model of the built-in world all its shapes by default."
        ),
    ] = "",
    steps: Annotated[int, Option(help="Of training.")] = 1_200,
    device: Annotated[str, Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Teach a model a word; the same command again goes on where it was stopped.

    Best each picture shows the whole thing before another background. What NAME.png shows may be
    said in NAME.txt beside it, a caption a line, as in "a red zorb over the sea": then the word
    does not come to mean red or the sea.
    """
    from mutoscope.cli.making import pick_device
    from mutoscope.recipes.personal import personalize as teach

    def notice(text: str) -> None:
        print(f"mutoscope: {text}", file=sys.stderr)

    found = teach(
        pictures,
        name,
        out,
        model=model,
        like=[word.strip() for word in like.split(",") if word.strip()],
        steps=steps,
        device=pick_device(device),
        notice=notice,
    )
    told = [
        f"error on {kind} {found[key]:.3f}, untouched {found[f'{key}_untouched']:.3f}"
        for key, kind in (("own", "these pictures"), ("others", "others"))
        if key in found
    ]
    print(f"{out}  ({'; '.join(told)})")
