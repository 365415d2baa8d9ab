"""`mutoscope train`: runs recipes, or goes on with what was stopped."""

import pkgutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from mutoscope.errors import RequestError

if TYPE_CHECKING:
    from mutoscope.training.recipe import Recipe


def train(
    recipes: Annotated[list[str], Argument(help="MODULE:FUNCTION, e.g. mini:autoencoder.")],
    out: Annotated[Path, Option(help="Folder of the run; one that holds a run is resumed.")],
    data: Annotated[Path | None, Option(help="Your videos, NAME.mp4 beside NAME.txt.")] = None,
    device: Annotated[str, Option(help="cpu or cuda.")] = "cpu",
    minutes: Annotated[float | None, Option(help="Stop each recipe by the clock.")] = None,
    shipped: Annotated[
        bool, Option("--shipped", help="Take parents that are shipped, and train the rest.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the recipes and stop.")] = False,
) -> None:
    """Train recipes and their parents; the same command again goes on where it was stopped."""
    found = [find_recipe(recipe) for recipe in recipes]
    if dry_run:
        print(*found, sep="\n")
        return
    from mutoscope.recipes.ship import SHIPPED, unpack
    from mutoscope.training.trainer import train as run

    if shipped:
        unpack(SHIPPED, out)
    for recipe in found:
        print(run(recipe, out, data=data, device=device, minutes=minutes))


def find_recipe(name: str) -> "Recipe":
    """Calls the function that a name stands for.

    Args:
        name: `MODULE:FUNCTION`; a module of `mutoscope.recipes` may be written without that.

    Raises:
        RequestError: There is no such function, or it gives no recipe.
    """
    from mutoscope.training.recipe import Recipe

    module_name, _, function_name = name.partition(":")
    for candidate in (f"mutoscope.recipes.{module_name}", module_name):
        if module_name and _exists(candidate):
            function = getattr(import_module(candidate), function_name or " ", None)
            found = function() if callable(function) else None
            if isinstance(found, Recipe):
                return found
    raise RequestError(
        f"{name!r} names no recipe: possible are {', '.join(known_recipes())}, or "
        "MODULE:FUNCTION of your own. Use one of these."
    )


def known_recipes() -> list[str]:
    """Names of all functions of `mutoscope.recipes` that return a recipe and need no argument."""
    import inspect

    from mutoscope import recipes
    from mutoscope.training.recipe import Recipe

    names = []
    for module in pkgutil.iter_modules(recipes.__path__):
        loaded = import_module(f"{recipes.__name__}.{module.name}")
        for name, function in vars(loaded).items():
            if (
                inspect.isfunction(function)
                and function.__module__ == loaded.__name__
                and not name.startswith("_")
                and function.__annotations__.get("return") in (Recipe, "Recipe")
                and not inspect.signature(function).parameters
            ):
                names.append(f"{module.name}:{name}")
    return names


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
