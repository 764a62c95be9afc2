from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compressor.errors import Diagnostic, RecipeError
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers import Prune
from compressor.recipe.nodes import Node, Place
from compressor.recipe.overrides import Override, parse_set
from compressor.recipe.schema import Recipe
from compressor.recipe.variables import escaped, fill_in

MODIFIERS = "modifiers:\n  - {type: prune, allocation: lamp, sparsity: 0.3}\n"


def loaded(folder: Path, text: str, *sets: str) -> Recipe:
    path = folder / "r.yaml"
    path.write_text(f"version: 1\n{text}", encoding="utf-8")
    return load_recipe(path, tuple(map(parse_set, sets))).recipe


def refused(folder: Path, text: str, *sets: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        loaded(folder, text, *sets)
    faults = caught.value.diagnostics
    return [f"{fault.code} {fault.line}:{fault.column} {fault.message}" for fault in faults]


@pytest.mark.parametrize(
    ("variables", "text", "expected"),
    [
        ("x: 0.3", "prune ${100 * x} %", "prune 30 %"),
        ("x: 0.3", "${3 * x} is left", "0.9 is left"),  # 3 * 0.3 is not quite that
        ("x: 1234567.25", "${x}.", "1234567.25."),
        ("x: 3", "${x}${x}", "33"),
        ("x: 3", "${x / 2} and ${x // 2}", "1.5 and 1"),
        ("x: 12345678901234567890", "n${x}", "n12345678901234567890"),
        ("x: true", "${x}?", "true?"),
        ("x: a", "${x}", "a"),
        ("x: a", "$${x} is ${x}", "${x} is a"),
        ("x: a", "${x} $ { } $x $$ {x}", "a $ { } $x $$ {x}"),
        ("x: a", "$$${x} ${x}", "$${x} a"),
        ('x: "$${y}"', "${x}", "${y}"),
        ("x: ${y}\n  y: ${z}!\n  z: b", "${x}", "b!"),
        ("x: 1\n  y: ${x + 1}\n  z: ${x + y}", "${z} of ${y}", "3 of 2"),
    ],
)
def test_text_is_filled_in(tmp_path: Path, variables: str, text: str, expected: str) -> None:
    recipe = loaded(tmp_path, f"variables:\n  {variables}\ndescription: '{text}'\n{MODIFIERS}")
    assert recipe.description == expected


@pytest.mark.parametrize(
    ("value", "expression", "expected"),
    [("640", "${x}", 640), ("320", "${2 * x}", 640), ("1280", "${x / 2}", 640), ("1281", "${x // 2}", 640)],
)
def test_whole_value_keeps_its_type(tmp_path: Path, value: str, expression: str, expected: int) -> None:
    text = f"variables: {{x: {value}}}\nevaluation: {{image_size: '{expression}'}}\n{MODIFIERS}"
    size = loaded(tmp_path, text).evaluation.image_size
    assert (size, type(size)) == (expected, int)


def test_truth_values_and_lists_are_filled_in(tmp_path: Path) -> None:
    text = "variables: {off: false, part: neck}\nevaluation: {baseline: '${off}'}\n"
    modifiers = "modifiers:\n  - {type: prune, allocation: lamp, sparsity: 0.3, targets: [backbone, '${part}']}\n"
    recipe = loaded(tmp_path, text + modifiers)
    assert recipe.evaluation.baseline is False
    selection = recipe.modifiers[0].selection
    assert selection is not None and selection.targets == ("backbone", "neck")


BASE = """\
version: 1
variables: {share: 0.5, half: '${share / 2}', spare: 7}
modifiers:
  - {type: prune, allocation: lamp, sparsity: '${share}', targets: [backbone]}
  - {type: prune, allocation: lamp, sparsity: '${half}', targets: [neck]}
"""


@pytest.mark.parametrize(
    ("child", "sets", "expected"),
    [
        ("", (), (0.5, 0.25)),
        ("variables: {share: 0.4}\n", (), (0.4, 0.2)),
        ("variables: {share: 0.4}\n", ("variables.share=0.8",), (0.8, 0.4)),
        ("variables: {half: 0.1}\n", ("variables.share=0.8",), (0.8, 0.1)),
        ("", ("variables.half=${share / 5}",), (0.5, 0.1)),
        ("", ("variables.share=0.2", "variables.share=0.4"), (0.4, 0.2)),
        ("", ("modifiers.0.sparsity=${half + 0.1}",), (0.35, 0.25)),
    ],
)
def test_variables_of_a_base_can_be_set_anew(
    tmp_path: Path, child: str, sets: tuple[str, ...], expected: tuple[float, float]
) -> None:
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    path = tmp_path / "r.yaml"
    path.write_text(f"extends: base.yaml\n{child}", encoding="utf-8")
    recipe = load_recipe(path, tuple(map(parse_set, sets))).recipe
    assert tuple(step.sparsity for step in recipe.modifiers if isinstance(step, Prune)) == expected


def test_variable_that_an_extended_recipe_does_not_use_is_fine_and_of_its_own_is_not(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(BASE, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"r\.yaml:2:54: R118 the variable 'spare' is used nowhere"):
        load_recipe(tmp_path / "r.yaml")
    (tmp_path / "child.yaml").write_text("extends: r.yaml\n", encoding="utf-8")
    assert load_recipe(tmp_path / "child.yaml").recipe


def test_command_line_paths_are_not_filled_in(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"version: 1\n{MODIFIERS}", encoding="utf-8")
    weights = Override(("model", "weights"), "a${x}$${y}.pt", "--weights", literal=True)
    assert load_recipe(tmp_path / "r.yaml", (weights,)).recipe.model.weights == "a${x}$${y}.pt"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"variables: {{x: 1}}\ndescription: $${{x}}\n{MODIFIERS}", ["R118 2:16 the variable 'x' is used nowhere"]),
        (
            f"description: ${{x}} ${{y}} ${{x}}\n{MODIFIERS}",
            ["R116 2:14 there is no variable 'x'", "R116 2:14 there is no variable 'y'"],
        ),
        (
            f"variables:\n  x: ${{1 / 0}}\ndescription: ${{x}} ${{x + 1}}\n{MODIFIERS}",
            ["R117 3:6 ${1 / 0} cannot be evaluated: a division by zero"],
        ),
        (
            f"variables:\n  x: 1e-3\n  y: ${{x}}\ndescription: ${{y + 1}}\n{MODIFIERS}",
            ["R107 3:6 YAML reads 1e-3 as text"],
        ),
        (
            f"variables:\n  a: ${{b}}\n  b: ${{a}}\ndescription: ${{a}} ${{b}}\n{MODIFIERS}",
            ["R119 3:6 variables refer to one another in a circle: a -> b -> a"],
        ),
    ],
)
def test_fault_is_told_once_where_it_arises(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert refused(tmp_path, text) == expected


def test_long_chain_of_variables_is_refused(tmp_path: Path) -> None:
    chain = "".join(f"  v{number}: ${{v{number + 1}}}\n" for number in range(300))
    (fault,) = refused(tmp_path, f"variables:\n{chain}  v300: 1\ndescription: ${{v0}}\n{MODIFIERS}")
    assert fault.endswith("variables are made from one another more than 50 deep")


def test_variables_that_multiply_text_are_refused(tmp_path: Path) -> None:
    bomb = "".join(f"  v{number}: {f'${{v{number + 1}}}' * 10}\n" for number in range(12))
    text = f"variables:\n{bomb}  v12: xxxxxxxxxx\ndescription: ${{v0}}\n{MODIFIERS}"
    (fault,) = refused(tmp_path, text)
    assert fault.startswith("R117")
    assert fault.endswith("filled in holds more than 10,000 characters")


def test_variables_that_multiply_numbers_are_refused(tmp_path: Path) -> None:
    bomb = "".join(f"  v{number}: ${{{' * '.join([f'v{number + 1}'] * 9)}}}\n" for number in range(5))
    text = f"variables:\n{bomb}  v5: 99999999999999999999\ndescription: x${{v0}}\n{MODIFIERS}"
    (fault,) = refused(tmp_path, text)
    assert fault.endswith("cannot be evaluated: the result is too large")


@given(st.text("${}ax ", max_size=12))
@example("$${{")
def test_escaped_text_stays_as_it_is(text: str) -> None:
    place = Place("r.yaml")
    root = Node({"x": Node(escaped(text), place), "variables": Node({"a": Node(1, place)}, place)}, place)
    faults: list[Diagnostic] = []
    assert fill_in(root, frozenset(), faults).plain() == {"x": text}
    assert not faults
