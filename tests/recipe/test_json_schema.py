"""The JSON Schema of recipes says of a file what the engine says, and the shipped copy is current."""

from __future__ import annotations

import copy
import json
import operator
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from compressor.recipe.json_schema import recipe_schema
from compressor.recipe.schema import FILE_KEYS, Recipe
from compressor.rules.catalogue import Rule, rules
from tests.cli.commands import compressor

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))
SCHEMA = recipe_schema()
OF_THE_TEXT = ("R101", "R102", "R103", "R104", "R105", "R113", "R114")  # what a schema can see; the rest needs more
EXAMPLES = [rule for rule in rules() if rule.kind == "recipe"]

TYPES = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
APPLIES_TO = {
    **dict.fromkeys(("properties", "additionalProperties", "required", "propertyNames", "minProperties"), "object"),
    **dict.fromkeys(("items", "minItems"), "array"),
    **dict.fromkeys(("pattern", "minLength"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), "number"),
}
PLAIN: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda value, kinds: any(is_a(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds)),
    "const": lambda value, argument: type(value) is type(argument) and value == argument,
    "enum": lambda value, argument: value in argument,
    "required": lambda value, argument: set(argument) <= set(value),
    "pattern": lambda value, argument: re.search(argument, value) is not None,
    **dict.fromkeys(("minItems", "minLength", "minProperties"), lambda value, argument: len(value) >= argument),
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
SAYS_NOTHING = ("$schema", "title", "description", "default", "definitions", "then", "else")


def accepts(value: Any, node: Any = SCHEMA) -> bool:
    """As a validator of draft-07 would, for the keywords that are used; any other keyword is an error."""
    if isinstance(node, bool):
        return node
    asked = [(keyword, argument) for keyword, argument in node.items() if keyword not in SAYS_NOTHING]
    return all(holds(keyword, argument, value, node) for keyword, argument in asked)


def holds(keyword: str, argument: Any, value: Any, node: dict[str, Any]) -> bool:
    if keyword in APPLIES_TO and not is_a(APPLIES_TO[keyword], value):
        return True
    if keyword in PLAIN:
        return bool(PLAIN[keyword](value, argument))
    match keyword:
        case "$ref":
            return accepts(value, SCHEMA["definitions"][argument.removeprefix("#/definitions/")])
        case "anyOf":
            return any(accepts(value, member) for member in argument)
        case "allOf":
            return all(accepts(value, member) for member in argument)
        case "if":
            return accepts(value, node.get("then" if accepts(value, argument) else "else", True))
        case "properties":
            return all(accepts(value[key], member) for key, member in argument.items() if key in value)
        case "additionalProperties":
            return all(accepts(value[key], argument) for key in value if key not in node.get("properties", {}))
        case "propertyNames":
            return all(accepts(key, argument) for key in value)
        case "items":
            return all(accepts(item, argument) for item in value)
    raise AssertionError(f"the keyword {keyword} is not known here")


def is_a(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def properties(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of every section with its schema."""
    for key, value in node.get("properties", {}).items():
        yield f"{path}{key}", value
        yield from properties(value, f"{path}{key}.")
        yield from properties(value.get("items", {}), f"{path}{key}.")


def step(keys: str) -> str:
    return f"version: 1\nmodifiers:\n  - {{type: prune, {keys}}}\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_accepted_and_names_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    assert accepts(yaml.safe_load(text))


@pytest.mark.parametrize("rule", EXAMPLES, ids=lambda rule: rule.code)
def test_examples_of_the_rules(rule: Rule) -> None:
    assert rule.right is not None
    assert accepts(yaml.safe_load(rule.right))
    if rule.code in OF_THE_TEXT:
        assert rule.wrong is not None
        assert not accepts(yaml.safe_load(rule.wrong))


@pytest.mark.parametrize(
    "text",
    [
        "modifiers:\n  - {type: prune, allocation: erk, sparsity: 0.3}\n",
        "version: 1\n",
        "version: 2\nmodifiers:\n  - {type: prune, allocation: erk, sparsity: 0.3}\n",
        "version: true\nmodifiers:\n  - {type: prune, allocation: erk, sparsity: 0.3}\n",
        "version: 1\nmodifiers: []\n",
        "version: 1\nmodifiers: {type: prune, allocation: erk, sparsity: 0.3}\n",
        "version: 1\nmodifiers:\n  - {allocation: erk, sparsity: 0.3}\n",
        step("sparsity: 0.3"),
        step("allocation: erk"),
        step("allocation: erk, sparsity: 1"),
        step("allocation: erk, sparsity: 30"),
        step("allocation: erk, sparsity: true"),
        step("allocation: erk, sparsity: half"),
        step("allocation: erk, sparsity: {}"),
        step("allocation: erk, sparsity: {backbone: 30}"),
        step("allocation: erk, sparsity: '0.${tenths}'"),
        step("allocation: erg, sparsity: 0.3"),
        step("allocation: erk, sparsity: 0.3, targets: backbone"),
        step("allocation: erk, sparsity: 0.3, targets: []"),
        step("allocation: erk, sparsity: 0.3, targets: [3]"),
        step("allocation: erk, sparsity: 0.3, targets: [kernel: 3]"),
        step("allocation: erk, sparsity: 0.3, amount: 0.3"),
        step('pattern: "2:4", sparsity: 0.5'),
        step('pattern: "2:4", allocation: erk'),
        step("pattern: 2to4"),
        step("allocation: erk, sparsity: 0.3") + "model: yolov5s.pt\n",
        step("allocation: erk, sparsity: 0.3") + "evaluation: {image_size: 16}\n",
        step("allocation: erk, sparsity: 0.3") + "evaluation: {baseline: maybe}\n",
        step("allocation: erk, sparsity: 0.3") + "artifact: {dtype: int8}\n",
        step("allocation: erk, sparsity: 0.3") + "variables: {1st: 3}\n",
        step("allocation: erk, sparsity: 0.3") + "variables: {list: [3]}\n",
        step("allocation: erk, sparsity: 0.3") + "extends: {a: b.yaml}\n",
        "extends: base.yaml\nmodifier: []\n",
        "- version: 1\n",
    ],
)
def test_broken_recipes_are_refused(text: str) -> None:
    assert not accepts(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "extends: base.yaml\n",
        "extends: [a.yaml, b.yaml]\nvariables: {sparsity: 0.5, size: s, baseline: true}\n",
        step("allocation: '${how}', sparsity: '${sparsity / 2}'"),
        step("allocation: erk, sparsity: {backbone: '${2 * s}', '*': 0.3}, targets: [{kernel: '${k}x${k}'}]"),
        step('pattern: "${n}:4"'),
        step('pattern: "2:4", ignore: [stem]'),
        step("allocation: erk, sparsity: 0.3") + "evaluation: {baseline: '${b}', image_size: '${s}'}\n",
        step("allocation: erk, sparsity: 0.3") + "artifact: {dtype: 'float${bits}'}\n",
    ],
)
def test_what_only_a_file_may_hold_is_accepted(text: str) -> None:
    assert accepts(yaml.safe_load(text))


ABSENT = "no such key"
ODD: tuple[Any, ...] = (
    ABSENT,
    True,
    0,
    1,
    -1,
    0.5,
    1.5,
    40,
    99_999,
    "",
    "val",
    "erk",
    "2:4",
    "1:16",
    "2-4",
    {},
    {"stem": 0.5},
)
LISTS: tuple[Any, ...] = (
    [],
    ["*"],
    ["stem", {"kernel": "3x3"}],
    [{"kernel": 3}],
    [{"kernel": "3x3", "type": "Conv"}],
    [""],
    [1],
)


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """A right recipe with up to three keys changed, for better or worse."""
    recipe: dict[str, Any] = {"version": 1, "modifiers": [{"type": "prune", "allocation": "erk", "sparsity": 0.3}]}
    keys = {key: node for key, node in properties(SCHEMA) if key not in FILE_KEYS}
    for path in draw(st.lists(st.sampled_from([*keys, "modifier", "model.wieghts"]), max_size=3)):
        node = keys.get(path, {})
        right = [
            node.get("default", ABSENT),
            *(word for each in node.get("anyOf", []) for word in each.get("enum", [])),
        ]
        value = copy.deepcopy(draw(st.sampled_from(right) | st.sampled_from((*ODD, *LISTS))))
        section, _, key = path.rpartition(".")
        part: Any = recipe if not section else recipe.setdefault(section, {})
        part = part[0] if isinstance(part, list) and part else part
        if value == ABSENT and isinstance(part, dict):
            part.pop(key, None)
        elif isinstance(part, dict):
            part[key] = value
    return recipe


@given(recipes())
@settings(max_examples=300)
def test_schema_and_engine_agree_on_whole_recipes(recipe: dict[str, Any]) -> None:
    try:
        Recipe.model_validate(recipe)
    except ValidationError:
        assert not accepts(recipe)
    else:
        assert accepts(recipe)


def test_every_key_is_described_and_no_key_but_those_of_a_section_is_allowed() -> None:
    keys = dict(properties(SCHEMA))
    assert set(FILE_KEYS) | set(Recipe.model_fields) == {key for key in keys if "." not in key}
    assert "modifiers.sparsity" in keys
    assert [key for key, node in keys.items() if not node.get("description")] == []
    sections = [SCHEMA, SCHEMA["properties"]["modifiers"]["items"], *keys.values()]
    assert all(node["additionalProperties"] is False for node in sections if "properties" in node)


def test_document_is_one_that_editors_take_as_it_is() -> None:
    text = json.dumps(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert [word for word in ("$id", "$defs", "discriminator", "oneOf") if f'"{word}"' in text] == []
    assert all(f'"{reference[2:].split("/")[1]}"' in text for reference in re.findall(r'"\$ref": "([^"]*)"', text))
    assert list(SCHEMA["properties"])[:4] == ["version", "description", "extends", "variables"]


def test_key_without_a_value_is_refused_everywhere() -> None:
    """As by the reader of the files, which lets no empty value through to the models."""
    assert [key for key, node in properties(SCHEMA) if accepts(None, node)] == []


def test_command_prints_what_is_shipped(tmp_path: Path) -> None:
    done = compressor("schema", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "recipes" / "recipe.schema.json").read_text(encoding="utf-8")
    assert json.loads(done.stdout) == SCHEMA


def test_schema_needs_no_torch() -> None:
    code = "import sys, compressor.cli.schema as s; s.recipe_schema(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
