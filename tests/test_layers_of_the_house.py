"""Packages import only what stands left of them, and what answers at once imports no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "compressor"
ORDER = (
    *(
        "__init__",
        "compiled",
        "printable",
        "errors",
        "rules",
        "progress",
        "held",
        "cache",
        "output",
        "written",
        "kept",
        "input_file",
    ),
    *("recipe", "results", "outlook"),
    *("sensitivity_table", "sensitivity_notebook", "report", "environment"),
    *(
        "yolov5",
        "data",
        "plan",
        "modifiers",
        "evaluation",
        "training",
        "artifact",
        "export",
        "shipping",
        "benchmark",
        "run_folder",
        "run_report",
        "forecast",
    ),
    *(
        "starter",
        "job",
        "inputs",
        "budget",
        "room",
        "sensitivity",
        "baselines",
        "stages",
        "readiness",
        "inspection",
        "pipeline",
        "sweep",
        "verification",
    ),
    *("cli", "__main__"),
)


def imported_parts(file: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "compressor":
            below = node.module.split(".")[1:]
            parts |= {below[0]} if below else {alias.name for alias in node.names}
    return {part if part in ORDER else "__init__" for part in parts}


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_imports_only_from_the_left(file: Path) -> None:
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = ORDER[: ORDER.index(part) + 1]
    assert imported_parts(file) <= set(allowed)


AT_ONCE = ("cli.main", "report.diff", "report.compare", "recipe.load")


@pytest.mark.parametrize("module", [f"compressor.{name}" for name in AT_ONCE])
def test_imports_neither_torch_nor_opencv(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'cv2', 'pycocotools') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_readable() -> None:
    long = {file.name: lines for file in PACKAGE.rglob("*.py") if (lines := len(file.read_text().splitlines())) > 450}
    assert not long
