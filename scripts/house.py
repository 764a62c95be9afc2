"""The figures by which the source is kept small: functions, classes, imports and files, as a Markdown table.

    python scripts/house.py [FOLDER...]

Each folder is a checkout, by default this one, and gives a row; to see what a change did, name a `git worktree` of an
earlier commit before it. `tests/test_house.py` holds the limits.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MOST_LINES, MOST_PARAMETERS, MOST_FILE_LINES = 60, 7, 300
PACKAGE = "compressor"
HEADERS = (
    "checkout",
    "function lines: median / p90 / max",
    f"functions > {MOST_LINES} lines",
    "deepest inheritance",
    "registrations",
    "import circles (modules)",
    "tests : source",
    f"functions > {MOST_PARAMETERS} parameters",
    "of these outside the commands",
    f"files > {MOST_FILE_LINES} lines",
)


@dataclass(frozen=True)
class Function:
    """A function, method or nested function.

    Attributes:
        place: its module and qualified name, such as `run.pipeline:run`.
        lines: of its definition, without decorators and docstring.
        parameters: without `self` or `cls`, and without `*rest` and `**more`.
        command: whether it is a command of the CLI, which has a parameter for each option.
    """

    place: str
    lines: int
    parameters: int
    command: bool


@dataclass(frozen=True)
class House:
    """Figures of a checkout.

    Attributes:
        functions: all of the package.
        deepest: classes of the package in its longest line of inheritance.
        registrations: decorators, and calls at a module's level, whose name says that they register something.
        circles: the modules of each circle of imports.
        file_lines: lines of each module.
        test_lines: lines of all Python files below `tests/`.
    """

    functions: tuple[Function, ...]
    deepest: int
    registrations: int
    circles: tuple[tuple[str, ...], ...]
    file_lines: dict[str, int]
    test_lines: int


def measure(checkout: Path) -> House:
    """All figures of a checkout."""
    files = modules(checkout / PACKAGE)
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in files.items()}
    return House(
        functions=tuple(each for name, tree in trees.items() for each in functions(tree, f"{name}:")),
        deepest=deepest(trees.values()),
        registrations=sum(registrations(tree) for tree in trees.values()),
        circles=circles({name: imported(tree, files) for name, tree in trees.items()}),
        file_lines={name: count_lines(file) for name, file in files.items()},
        test_lines=sum(count_lines(file) for file in (checkout / "tests").rglob("*.py")),
    )


def count_lines(file: Path) -> int:
    """Lines of a text file."""
    return len(file.read_text(encoding="utf-8").splitlines())


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name below it; a folder's `__init__` by the folder's name."""
    files = {file.relative_to(package).with_suffix("").parts: file for file in sorted(package.rglob("*.py"))}
    return {".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts): f for parts, f in files.items()}


def imported(tree: ast.Module, known: Iterable[str]) -> set[str]:
    """The modules among `known` that a module imports, inside of functions too, but not for type checking alone."""
    typing_only = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for each in ast.walk(node)
    }
    names, found = frozenset(known), set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            below = node.module.removeprefix(PACKAGE).lstrip(".")
            inside = (f"{below}.{alias.name}".lstrip(".") for alias in node.names)
            found |= {name if name in names else below or "__init__" for name in inside}
        elif isinstance(node, ast.Import):
            whole = (alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE}."))
            found |= {name.removeprefix(f"{PACKAGE}.") for name in whole}
    return found


def circles(graph: Mapping[str, set[str]]) -> tuple[tuple[str, ...], ...]:
    """The largest groups of modules that all import each other, by way of others or at once."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in graph
        if name in reached[name]
    }
    return tuple(sorted(groups))


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += graph.get(name, ())
    return found


def functions(node: ast.AST, place: str) -> Iterator[Function]:
    """The functions below a node, outer ones first; `place` stands before their names."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield _function(child, place + child.name)
                yield from functions(child, f"{place}{child.name}.")
            case ast.ClassDef():
                yield from functions(child, f"{place}{child.name}.")
            case _:
                yield from functions(child, place)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, place: str) -> Function:
    names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    bound = names[:1] in (["self"], ["cls"])
    command = any(re.search(r"\bcommand\b", ast.unparse(each)) for each in node.decorator_list)
    return Function(place, _extent(node) - _docstring(node), len(names) - bound, command)


def _extent(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return 0 if ast.get_docstring(node) is None else _extent(node.body[0])


def deepest(trees: Iterable[ast.Module]) -> int:
    """Classes in the longest line of inheritance; those from elsewhere do not count, and names are taken as unique."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {node.name: [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases] for node in classes}

    def depth(name: str, below: frozenset[str]) -> int:
        if name in below or name not in bases:
            return 0
        return 1 + max((depth(base, below | {name}) for base in bases[name]), default=0)

    return max((depth(name, frozenset()) for name in bases), default=0)


def registrations(tree: ast.Module) -> int:
    """Decorators, and calls at the module's level, whose name holds `register`."""
    decorators = [each for node in ast.walk(tree) for each in getattr(node, "decorator_list", ())]
    calls = [node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    names = [ast.unparse(each.func if isinstance(each, ast.Call) else each) for each in (*decorators, *calls)]
    return sum("register" in name for name in names)


def row(name: str, house: House) -> tuple[str, ...]:
    """One line of the table."""
    extents = sorted(each.lines for each in house.functions)
    many = [each for each in house.functions if each.parameters > MOST_PARAMETERS]
    circle = f" ({', '.join(str(len(each)) for each in house.circles)})" if house.circles else ""
    ratio = house.test_lines / sum(house.file_lines.values())
    return (
        name,
        f"{statistics.median(extents):g} / {statistics.quantiles(extents, n=10)[-1]:.0f} / {extents[-1]}",
        str(sum(extent > MOST_LINES for extent in extents)),
        str(house.deepest),
        str(house.registrations),
        f"{len(house.circles)}{circle}",
        f"{ratio:.2f}",
        str(len(many)),
        str(sum(not each.command for each in many)),
        f"{sum(count > MOST_FILE_LINES for count in house.file_lines.values())} of {len(house.file_lines)}",
    )


def main() -> None:
    """Print the table, and below it what is above a limit in the last checkout."""
    parser = argparse.ArgumentParser(description="Figures of the source as a Markdown table.")
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(__file__).parents[1]], help="checkouts")
    houses = {folder.resolve().name: measure(folder) for folder in parser.parse_args().folders}
    rows = [HEADERS, (":--", *("--:",) * (len(HEADERS) - 1)), *(row(*each) for each in houses.items())]
    print("\n".join(f"|{'|'.join(cells)}|" for cells in rows))
    *_, last = houses.values()
    print()
    for each in last.functions:
        if each.lines > MOST_LINES or each.parameters > MOST_PARAMETERS:
            kind = ", a command" if each.command else ""
            print(f"- `{each.place}`: {each.lines} lines, {each.parameters} parameters{kind}")
    for circle in last.circles:
        print(f"- a circle: {', '.join(circle)}")


if __name__ == "__main__":
    main()
