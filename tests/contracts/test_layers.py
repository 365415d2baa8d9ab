"""A file imports only from layers above its own; siblings never import each other; no cycles."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.contracts.source import sources

# A comma-joined group may import within itself; separate names in a layer are siblings.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("types", "errors"),
    ("nn", "diffusion", "video", "world"),
    ("encoding",),
    ("stages",),
    ("systems", "training", "data", "metrics"),
    ("recipes", "evaluation"),
    ("cli",),
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
# `types` raises the errors of `errors`; every other pair of one layer are strangers.
FRIENDS = {("types", "errors")}
FORBIDDEN = {"utils", "util", "misc", "helpers", "helper", "common", "base", "manager", "managers"}
# A bare GPU machine trains; it need not decode video files or draw a command line.
NOT_FOR_TRAINING = {"av", "typer", "click"}
# Of the standard library, what Python for Windows has not: a file that needs it cannot be imported.
NOT_ON_WINDOWS = {"fcntl", "grp", "pwd", "resource", "termios"}


def imported(name: str, text: str, modules: set[str], *, at_start: bool = False) -> set[str]:
    """Every module that `text` names in an import, resolved to a submodule where there is one.

    With `at_start` only what importing the file itself imports, not what its functions do later.
    """
    found = set()
    tree = ast.parse(text)
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import; write the full name"
            module = str(node.module)
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                if submodule in modules:
                    found.add(submodule)
                elif submodule != "mutoscope.__version__":
                    found.add(module)
    return found - {name}


def violations(texts: dict[str, str]) -> list[str]:
    """What breaks the layer rules in a package given as module name -> source."""
    problems = []
    graph: dict[str, set[str]] = {}
    for name, text in texts.items():
        parts = name.split(".")
        if FORBIDDEN & set(parts[1:]):
            problems.append(f"{name}: a module is named by the one thing it holds")
        graph[name] = {m for m in imported(name, text, set(texts)) if m.startswith("mutoscope")}
        if len(parts) == 1:  # the package itself looks its public names up lazily
            continue
        own = parts[1]
        if own not in DEPTH:
            problems.append(f"{name}: {own!r} has no place in the table of layers")
            continue
        for target in graph[name]:
            other = f"{target}.".split(".")[1]
            if other == own or (own, other) in FRIENDS:
                continue
            if other not in DEPTH or DEPTH[other] >= DEPTH[own]:
                problems.append(f"{name} imports {target}")
    graph.pop("mutoscope", None)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append("cycle: " + " -> ".join(error.args[1]))
    return problems


def test_every_import_points_up_the_table() -> None:
    assert violations(sources()) == []


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ({"mutoscope.nn.a": "import mutoscope.stages.b", "mutoscope.stages.b": ""}, "imports"),
        ({"mutoscope.nn.a": "from mutoscope.diffusion import b"}, "imports"),
        ({"mutoscope.nn.a": "def f():\n    from mutoscope.cli.main import main"}, "imports"),
        (
            {
                "mutoscope.nn.a": "from mutoscope.nn import b",
                "mutoscope.nn.b": "from mutoscope.nn.a import x",
            },
            "cycle",
        ),
        ({"mutoscope.nn.utils": ""}, "named by"),
        ({"mutoscope.shed.a": ""}, "no place"),
        ({"mutoscope.types": "from mutoscope import load"}, "imports"),
    ],
)
def test_the_checker_sees_each_kind_of_breach(texts: dict[str, str], complaint: str) -> None:
    assert any(complaint in problem for problem in violations(texts))


def test_training_needs_neither_video_files_nor_a_command_line() -> None:
    texts = sources()
    reached: set[str] = set()
    queue = [m for m in texts if m.split(".")[1:2] in (["training"], ["recipes"], ["stages"])]
    while queue:
        name = queue.pop()
        if name in reached:
            continue
        reached.add(name)
        parents = [name.rsplit(".", i)[0] for i in range(1, name.count("."))]  # their __init__
        targets = imported(name, texts[name], set(texts), at_start=True)
        for target in targets:
            root = target.split(".")[0]
            assert root not in NOT_FOR_TRAINING, f"{name} imports {root}"
        queue += [m for m in (*targets, *parents) if m in texts and m != "mutoscope"]


def needs_posix(texts: dict[str, str]) -> set[str]:
    """Modules that cannot be imported on Windows."""
    return {
        name
        for name, text in texts.items()
        if NOT_ON_WINDOWS & imported(name, text, set(texts), at_start=True)
    }


def test_everything_can_be_imported_on_windows() -> None:
    assert needs_posix(sources()) == set()
    late = "def f():\n    import resource"
    assert needs_posix({"mutoscope.a": "import resource", "mutoscope.b": late}) == {"mutoscope.a"}
