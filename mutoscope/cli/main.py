"""`mutoscope`: the commands, and the one place where errors become a line and an exit code."""

import atexit
import gc
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from mutoscope import __version__
from mutoscope.cli.convert import convert
from mutoscope.cli.enhance import interpolate, upscale
from mutoscope.cli.evaluate import evaluate
from mutoscope.cli.generate import generate
from mutoscope.cli.going_on import go_on
from mutoscope.cli.inspect import inspect
from mutoscope.cli.personalize import personalize
from mutoscope.cli.plan import plan
from mutoscope.cli.replay import replay
from mutoscope.cli.train import train
from mutoscope.errors import Cancelled, MutoscopeError, is_out_of_memory

app = typer.Typer(
    name="mutoscope",
    help="A prompt becomes a video.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    generate,
    plan,
    replay,
    inspect,
    interpolate,
    upscale,
    train,
    personalize,
    evaluate,
    convert,
):
    app.command()(command)
app.command("continue")(go_on)  # a Python function cannot have that name

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""The libraries make a million objects that stay; to look through those each 700th, as Python does
by itself, is a seventh of the time that they need to load."""
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_OUT_OF_MEMORY = (
    "there is not enough memory for this. Say with --memory how much there is, ask for fewer "
    "frames or a smaller size, give training a smaller batch, close other programs, or use "
    "--device cpu, which has the machine's own memory."
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and leaves the process: 0 done, 1 not possible, 2 misspelt, 130 Ctrl-C.

    Args:
        arguments: What follows `mutoscope`; the process's own by default.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    # When Python ends it would search all that the libraries made once more, for two seconds.
    atexit.register(gc.freeze)
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(given or ["--help"]))


def _run(arguments: list[str]) -> int:
    try:
        code = app(args=arguments, prog_name="mutoscope", standalone_mode=False)
    except typer.Abort as abort:
        # typer takes any end of a file for the user's; nothing here asks one.
        raise abort.__cause__ or abort from None
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Cancelled as error:
        return _fail(str(error), _INTERRUPTED)
    except MutoscopeError as error:
        return _fail(str(error), 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    except TyperException as error:
        return _fail(f"{error.format_message()} (see mutoscope --help)", error.exit_code)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _fail(_OUT_OF_MEMORY, 1)
    if code == _INTERRUPTED:
        return _fail("stopped by Ctrl-C; nothing half-finished was left behind.", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"mutoscope: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
