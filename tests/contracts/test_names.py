"""`__all__` tells the truth, and no dataclass field exists that nothing reads."""

import ast
from importlib import import_module

import pytest

import mutoscope
from tests.contracts.source import ROOT, sources


def test_the_public_names_resolve_and_are_all_that_is_offered() -> None:
    assert dir(mutoscope) == sorted(mutoscope.__all__)
    for name in mutoscope.__all__:
        assert getattr(mutoscope, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'generate'"):
        mutoscope.generate  # noqa: B018


@pytest.mark.parametrize("module", [m for m, text in sources().items() if "__all__" in text])
def test_every_listed_name_exists(module: str) -> None:
    loaded = import_module(module)
    for name in loaded.__all__:
        assert getattr(loaded, name) is not None


def unread_fields(texts: dict[str, str]) -> list[str]:
    """Dataclass fields that no code of the package ever reads as an attribute."""
    declared: dict[str, str] = {}
    read: set[str] = set()
    for module, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
            if isinstance(node, ast.ClassDef) and any(
                "dataclass" in ast.unparse(d) for d in node.decorator_list
            ):
                for item in node.body:
                    if isinstance(item, ast.AnnAssign):
                        declared[ast.unparse(item.target)] = f"{module}.{node.name}"
    return sorted(f"{where}.{name}" for name, where in declared.items() if name not in read)


@pytest.mark.slow
def test_every_dataclass_field_is_read_somewhere() -> None:
    # What is handed to users may be read by nothing but tests, which stand for them.
    tests = {str(path): path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py")}
    assert [name for name in unread_fields(sources() | tests) if name.startswith("muto")] == []


def test_an_unread_field_is_found() -> None:
    text = "@dataclass\nclass A:\n    used: int\n    dead: int\n\nA(1, 2).used"
    assert unread_fields({"m": text}) == ["m.A.dead"]
