"""`mutoscope train`: runs recipes, or goes on with what was stopped."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeGuard

from typer import Argument, Option

from mutoscope.errors import RequestError

if TYPE_CHECKING:
    from mutoscope.training.recipe import Recipe


def train(
    recipes: Annotated[list[str], Argument(help="MODULE:FUNCTION, e.g. mini:autoencoder.")],
    out: Annotated[Path, Option(help="Folder of the run; one that holds a run is resumed.")],
    data: Annotated[Path | None, Option(help="Your videos, NAME.mp4 beside NAME.txt.")] = None,
    device: Annotated[str, Option(help="cpu, cuda, or auto.")] = "auto",
    minutes: Annotated[float | None, Option(help="For each recipe, but not its parents.")] = None,
    shipped: Annotated[
        bool, Option("--shipped", help="Take parents that are shipped, and train the rest.")
    ] = False,
    as_shipped: Annotated[
        bool, Option("--as-shipped", help="Each run and parent for the minutes of the shipped one.")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the recipes and stop.")] = False,
) -> None:
    """Train recipes and their parents; the same command again goes on where it was stopped."""
    if as_shipped and minutes is not None:
        raise RequestError("--as-shipped says the minutes of each run. Leave --minutes out.")
    found = [find_recipe(recipe) for recipe in recipes]
    if dry_run:
        print(*found, sep="\n")
        return
    from mutoscope.cli.making import pick_device
    from mutoscope.data.sources import captioned_videos
    from mutoscope.recipes.ship import SHIPPED, shipped_minutes, unpack
    from mutoscope.training.trainer import train as run

    device = pick_device(device)
    if data is not None:
        captioned_videos(data)  # parents may train for hours before the first is looked at
    if shipped:
        unpack(SHIPPED, out)
    if not as_shipped:
        for recipe in found:
            print(run(recipe, out, data=data, device=device, minutes=minutes))
        return
    lasted = {link.name: shipped_minutes(link) for recipe in found for link in recipe.chain()}
    for recipe in found:
        for link in recipe.chain():
            made = run(link, out, data=data, device=device, minutes=lasted[link.name])
        print(made)


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
            found = function() if _takes_nothing(function) else None
            if isinstance(found, Recipe):
                return found
    raise RequestError(
        f"{name!r} names no recipe: possible are {', '.join(known_recipes())}, or "
        "MODULE:FUNCTION of your own. Use one of these."
    )


def known_recipes() -> list[str]:
    """Names of all functions of `mutoscope.recipes` that return a recipe and need no argument."""
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
                and _takes_nothing(function)
            ):
                names.append(f"{module.name}:{name}")
    return names


def _takes_nothing(function: object) -> TypeGuard[Callable[[], object]]:
    """Whether it is a function that can be called without arguments."""
    if not inspect.isfunction(function):
        return False
    parameters = inspect.signature(function).parameters.values()
    return all(each.default is not each.empty for each in parameters)


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
