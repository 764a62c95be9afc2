"""Packages import only what stands above them in docs/architecture.md; what answers at once imports no torch."""

import ast
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from scripts import house

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
    return house.modules(PACKAGE)


@lru_cache(maxsize=1)
def imports() -> dict[str, set[str]]:
    """The package's own modules that each module imports, inside of functions too, but not for type checking alone."""
    known = modules()
    return {name: house.imported(ast.parse(file.read_text(encoding="utf-8")), known) for name, file in known.items()}


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
    for name in imports()[module]:
        inside = name.split(".", maxsplit=1)[0] == module.split(".", maxsplit=1)[0]
        assert inside or floor(name) < floor(module), f"{module} imports {name}"


OUTSIDE = {  # folders beside the package, and those of them that each may import
    "compressor": set(),
    "trials": {"trials"},
    "scripts": {"scripts", "trials"},
    "benchmarks": {"benchmarks", "trials"},
}


@pytest.mark.parametrize("folder", OUTSIDE)
def test_only_tests_import_tests(folder: str) -> None:
    others = {"tests", *OUTSIDE} - {"compressor"} - OUTSIDE[folder]
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & others, file


AT_ONCE = ("cli.main", "cli.check", "report.render", "report.diff", "report.compare", "recipe.load")


@pytest.mark.parametrize("module", [f"compressor.{name}" for name in AT_ONCE])
def test_imports_neither_torch_nor_opencv(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'cv2', 'pycocotools') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_readable() -> None:
    long = {file.name: lines for file in PACKAGE.rglob("*.py") if (lines := len(file.read_text().splitlines())) > 450}
    assert not long
