"""The README's tree: one line per file, taken from the files; `python -m` this rewrites it."""

import ast
import re
from pathlib import Path

from tests.contracts.source import PACKAGE, ROOT
from tests.contracts.test_layers import DEPTH

README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- tree:[^\n]*-->\n```text\n)(.*?)(```)", re.S)


def tree() -> str:
    """Every Python file of the package with its first line, folders in the order of the layers."""
    lines = ["mutoscope/"]
    folders = sorted(
        (p for p in PACKAGE.iterdir() if (p / "__init__.py").exists()),
        key=lambda p: (DEPTH[p.name], p.name),
    )
    for file in ("types.py", "errors.py"):
        lines.append(_line(f"  {file}", PACKAGE / file))
    for folder in folders:
        lines.append(_line(f"  {folder.name}/", folder / "__init__.py"))
        for file in sorted(folder.glob("*.py")):
            if file.name != "__init__.py":
                lines.append(_line(f"    {file.name}", file))
    return "\n".join(lines) + "\n"


def _line(name: str, path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return f"{name:<24}{docstring.splitlines()[0]}"


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda m: m[1] + tree() + m[3], text), encoding="utf-8")
