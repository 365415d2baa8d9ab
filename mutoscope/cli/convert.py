"""`mutoscope convert`: published weights become a model folder, LaVie's or a start for training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from mutoscope.errors import RequestError

_RELEASED, _SD, _X4 = "released", "stable-diffusion", "x4-upscaler"
# Where weights come from -> the options that say where they lie.
_OPTIONS = {
    _RELEASED: ("base", "interpolation", "upscale", "sd", "x4"),
    _SD: ("sd",),
    _X4: ("x4",),
}


def convert(
    out: Annotated[Path, Option(help="Folder to write, for --model; must not exist.")],
    system: Annotated[str, Argument(help="What to make: lavie.")] = "lavie",
    source: Annotated[
        str,
        Option(
            "--from",
            help="released, as its authors trained it; or stable-diffusion or x4-upscaler: image "
            "models inflated in time, to train.",
        ),
    ] = _RELEASED,
    base: Annotated[Path | None, Option(help="lavie_base.pt; needs --sd.")] = None,
    interpolation: Annotated[
        Path | None, Option(help="lavie_interpolation.pt; needs --sd.")
    ] = None,
    upscale: Annotated[Path | None, Option(help="lavie_vsr.pt; needs --x4.")] = None,
    sd: Annotated[Path | None, Option(help="Folder of Stable Diffusion 1.4.")] = None,
    x4: Annotated[Path | None, Option(help="Folder of Stable Diffusion's x4 upscaler.")] = None,
) -> None:
    """Make a model folder of published weights."""
    given = {"base": base, "interpolation": interpolation, "upscale": upscale, "sd": sd, "x4": x4}
    _check(system, source, given)

    from mutoscope.systems.convert import convert_lavie, start_from_images

    def written(name: str, weights: int) -> None:
        print(f"{out / name}  ({weights:,} weights)", flush=True)

    if source == _RELEASED:
        convert_lavie(out, **given, on_component=written)
    else:
        start_from_images(out, sd=sd, x4=x4, on_component=written)
    print(f"{out}  (a model: mutoscope ... --model {out})")


def _check(system: str, source: str, given: Mapping[str, Path | None]) -> None:
    """Refuses what is not known, and options that have no part in what is asked for."""
    if system != "lavie" or source not in _OPTIONS:
        raise RequestError(
            f"{system!r} --from {source!r} cannot be made: possible is lavie, from "
            f"{', '.join(_OPTIONS)}. Use one of these."
        )
    possible = _OPTIONS[source]
    idle = [name for name, path in given.items() if path is not None and name not in possible]
    if idle:
        raise RequestError(
            f"--{idle[0]} has no part in --from {source}, which takes "
            f"{', '.join(f'--{name}' for name in possible)}. Leave it out."
        )
    if source != _RELEASED and given[possible[0]] is None:
        raise RequestError(
            f"--from {source} needs --{possible[0]}, the folder that it starts from."
        )
