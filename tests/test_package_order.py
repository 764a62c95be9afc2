"""Packages import only what stands above them in docs/architecture.md; what answers at once imports no torch."""

import ast
import re
import subprocess
import sys
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "compressor"
PAGE = ROOT / "docs" / "architecture.md"
ENTRY = ("__init__", "__main__")  # the Python interface and the command, above all others


@lru_cache(maxsize=1)
def floors() -> tuple[tuple[str, ...], ...]:
    """The packages and root modules of each line of the order, the lowest first."""
    _, listed, _ = PAGE.read_text(encoding="utf-8").split("<!-- order -->")
    return tuple(tuple(re.findall(r"`(\w+)`", line)) for line in listed.strip().splitlines())


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below it."""
    files = {file.relative_to(PACKAGE).with_suffix("").parts: file for file in PACKAGE.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts): f for parts, f in files.items()}


def imported(file: Path, known: dict[str, Path]) -> set[str]:
    """The package's own modules that a file imports, inside of functions too, but not for type checking alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for each in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "compressor":
            below = node.module.removeprefix("compressor").lstrip(".")
            names = (f"{below}.{alias.name}".lstrip(".") for alias in node.names)
            found |= {name if name in known else below or "__init__" for name in names}
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names if alias.name.startswith("compressor."))
            found |= {name.removeprefix("compressor.") for name in names}
    return found


def floor(module: str) -> int:
    part = module.split(".", maxsplit=1)[0]
    if part in ENTRY:
        return len(floors())
    return next(number for number, parts in enumerate(floors()) if part in parts)


def test_the_order_names_every_package_and_no_other() -> None:
    parts = {module.split(".")[0] for module in modules()} - set(ENTRY)
    assert sorted(part for line in floors() for part in line) == sorted(parts)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_only_from_above_in_the_order(module: str) -> None:
    known = modules()
    for name in imported(known[module], known):
        inside = name.split(".", maxsplit=1)[0] == module.split(".", maxsplit=1)[0]
        assert inside or floor(name) < floor(module), f"{module} imports {name}"


def test_no_import_circle() -> None:
    known = modules()
    try:
        list(TopologicalSorter({name: imported(file, known) for name, file in known.items()}).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


AT_ONCE = ("cli.main", "report.diff", "report.compare", "recipe.load")


@pytest.mark.parametrize("module", [f"compressor.{name}" for name in AT_ONCE])
def test_imports_neither_torch_nor_opencv(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'cv2', 'pycocotools') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_readable() -> None:
    long = {file.name: lines for file in PACKAGE.rglob("*.py") if (lines := len(file.read_text().splitlines())) > 450}
    assert not long
