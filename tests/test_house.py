"""The source stays small. What is above a limit today may only become less.

`python scripts/house.py` prints the figures.
"""

from __future__ import annotations

import ast
import statistics
from functools import lru_cache
from pathlib import Path

import pytest

from scripts import house

ROOT = Path(__file__).parents[1]
LONG_FILES = 17  # of the package, above 300 lines


@lru_cache(maxsize=1)
def measured() -> house.House:
    return house.measure(ROOT)


def test_no_function_is_longer_than_the_limit() -> None:
    long = {each.place: each.lines for each in measured().functions if each.lines > house.MOST_LINES}
    assert long == {}


def test_no_function_has_more_parameters_than_the_limit() -> None:
    functions = [each for each in measured().functions if not each.command]
    many = {each.place: each.parameters for each in functions if each.parameters > house.MOST_PARAMETERS}
    assert many == {}


def test_only_the_cli_has_commands() -> None:
    assert {each.place.split(".")[0] for each in measured().functions if each.command} == {"cli"}


def test_functions_and_files_stay_small_as_a_whole() -> None:
    lines = sorted(each.lines for each in measured().functions)
    assert statistics.median(lines) <= 6 and statistics.quantiles(lines, n=10)[-1] <= 18
    assert sum(count > house.MOST_FILE_LINES for count in measured().file_lines.values()) <= LONG_FILES


def test_no_import_circle() -> None:
    assert measured().circles == ()


def test_nothing_is_registered_and_classes_inherit_little() -> None:
    assert measured().registrations == 0
    assert measured().deepest <= 3


FUNCTIONS = '''
@main.command()
def run(a, /, b, *, c, **more):
    """Two

    lines."""
    def inner(): return 1
    return inner

class Box:
    @property
    def side(self): return 2
    async def grow(
        self, by, *rest
    ):
        if by:
            def nested(x): ...
'''


def test_functions_are_counted_without_docstrings_and_what_is_bound() -> None:
    found = [(f.place, f.lines, f.parameters, f.command) for f in house.functions(ast.parse(FUNCTIONS), "m:")]
    assert found == [
        ("m:run", 3, 3, True),
        ("m:run.inner", 1, 0, False),
        ("m:Box.side", 1, 0, False),
        ("m:Box.grow", 5, 1, False),
        ("m:Box.grow.nested", 1, 1, False),
    ]


def test_imports_in_functions_count_and_those_for_types_do_not() -> None:
    source = """
import compressor.a.b
from compressor.c import d, name
from compressor import e
if TYPE_CHECKING:
    from compressor import f
def later():
    from compressor.g import h
"""
    known = {"a.b", "c", "c.d", "e", "f", "g", "g.h"}
    assert house.imported(ast.parse(source), known) == {"a.b", "c", "c.d", "e", "g.h"}


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, ()),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, (("a", "b", "c"),)),
        ({"a": {"a"}, "b": {"c"}, "c": {"b", "a"}}, (("a",), ("b", "c"))),
    ],
)
def test_circles_are_groups_that_import_each_other(
    graph: dict[str, set[str]], expected: tuple[tuple[str, ...], ...]
) -> None:
    assert house.circles(graph) == expected


def test_inheritance_and_registrations_are_counted() -> None:
    tree = ast.parse(
        "class A(Exception): ...\nclass B(m.A[int]): ...\n@register\nclass C(Mixin, B): ...\nr.register(C)"
    )
    assert (house.deepest([tree]), house.registrations(tree)) == (3, 2)


def test_the_table_has_a_line_for_each_checkout() -> None:
    cells = house.row("here", measured())
    assert len(cells) == len(house.HEADERS)
    assert cells[0] == "here" and cells[5] == "0"
