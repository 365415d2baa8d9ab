"""Every public thing has a docstring, and the arguments it documents are those that exist."""

import ast
import re
from collections.abc import Collection
from functools import cache

import pytest

from tests.contracts.source import public_definitions, sources

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Source|Example|Note)s?:", re.M)
ENTRY = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?:")


def documented(docstring: str, section: str) -> list[str] | None:
    """The names listed under `section`, or None where there is no such section."""
    parts = re.split(rf"^{section}:\s*\n", docstring, maxsplit=1, flags=re.M)
    if len(parts) == 1:
        return None
    names = []
    for line in parts[1].splitlines():
        if line and not line.startswith(" "):
            break
        if match := ENTRY.match(line):
            names += [name.lstrip("*") for name in match[1].split(", ")]
    return names


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The argument names of a function, without `self` and `cls`."""
    spec = node.args
    every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
    every += [extra for extra in (spec.vararg, spec.kwarg) if extra is not None]
    return [arg.arg for arg in every if arg.arg not in {"self", "cls"}]


def fields(node: ast.ClassDef) -> list[str]:
    """The annotated attributes of a class body."""
    return [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]


@cache
def documented_methods() -> set[str]:
    """Names of methods that some class of the package documents, such as those of protocols."""
    return {
        name.split(".")[1]
        for text in sources().values()
        for name, node in public_definitions(ast.parse(text))
        if "." in name and ast.get_docstring(node)
    }


def complaints(module: str, text: str, explained: Collection[str] = ()) -> list[str]:
    """What is undocumented or documented wrongly in one module.

    Methods named in `explained` need no docstring: they do what it says elsewhere.
    """
    tree = ast.parse(text)
    found = [] if ast.get_docstring(tree) else [f"{module}: no docstring"]
    for name, node in public_definitions(tree):
        docstring = ast.get_docstring(node)
        if docstring is None:
            if "." not in name or name.split(".")[1] not in explained:
                found.append(f"{module}.{name}: no docstring")
        elif isinstance(node, ast.ClassDef):
            listed = documented(docstring, "Attributes")
            frozen = any("dataclass" in ast.unparse(d) for d in node.decorator_list)
            if frozen and listed is not None and sorted(listed) != sorted(fields(node)):
                found.append(f"{module}.{name}: documents {listed}, has {fields(node)}")
            init = [m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"]
            listed = documented(docstring, "Args")
            if listed is not None and init and sorted(listed) != sorted(arguments(init[0])):
                found.append(f"{module}.{name}: documents {listed}, takes {arguments(init[0])}")
        else:
            listed = documented(docstring, "Args")
            if listed is not None and sorted(listed) != sorted(arguments(node)):
                found.append(f"{module}.{name}: documents {listed}, takes {arguments(node)}")
    return found


@pytest.mark.parametrize("module", sources())
def test_documented_arguments_are_the_real_ones(module: str) -> None:
    assert complaints(module, sources()[module], documented_methods()) == []


def test_the_checker_sees_a_missing_an_extra_and_an_undocumented_argument() -> None:
    docstring = "Does.\n\n    Args:\n        a: One.\n        b: Two.\n    "
    good = f'"""m."""\ndef f(a, *, b):\n    """{docstring}"""'
    assert complaints("m", good) == []
    assert complaints("m", good.replace("        b: Two.\n", ""))
    assert complaints("m", good.replace("b: Two", "c: Two"))
    assert complaints("m", "def f(): pass") == ["m: no docstring", "m.f: no docstring"]
