"""Outside of `models/` nothing knows a family: neither its modules by name, nor where its outputs hold what."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "compressor"
KNOWN = {
    "export/checkpoint.py": "writes a `.pt` of stock YOLOv5, module by module",
}
OUTSIDE = sorted(
    file.relative_to(PACKAGE).as_posix()
    for file in PACKAGE.rglob("*.py")
    if file.relative_to(PACKAGE).parts[0] != "models"
)


def imported(tree: ast.AST) -> set[str]:
    """Modules that a file imports, and what it takes from them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", OUTSIDE)
def test_only_known_files_import_a_family(file: str) -> None:
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    families = {name for name in imported(tree) if name.startswith("compressor.models.yolov5")}
    assert bool(families) == (file in KNOWN), families


@pytest.mark.parametrize("file", sorted(set(OUTSIDE) - set(KNOWN)))
def test_nothing_else_counts_or_takes_an_objectness(file: str) -> None:
    text = (PACKAGE / file).read_text(encoding="utf-8")
    assert not re.search(r"nc \+ 5|5 \+ nc|names\) \+ 5|\] - 5\b|\[\.\.\., 5:\]|\[\.\.\., 4\]\.sigmoid", text)
