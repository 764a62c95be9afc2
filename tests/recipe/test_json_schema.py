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
from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.part import words_of
from compressor.recipe.schema import FILE_KEYS, Recipe
from compressor.rules.catalogue import Rule, rules
from trials.commands import compressor

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
    **dict.fromkeys(("items", "minItems", "maxItems"), "array"),
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
    "maxItems": lambda value, argument: len(value) <= argument,
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
        case "not":
            return not accepts(value, argument)
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
        for inner in (value, value.get("items", {})):
            for member in (inner, *inner.get("anyOf", ())):
                yield from properties(member, f"{path}{key}.")


def step(keys: str) -> str:
    return f"version: 1\nmodifiers:\n  - {{type: prune, {keys}}}\n"


def repair(keys: str) -> str:
    return f"{step('allocation: erk, sparsity: 0.3')}  - {{type: repair, {keys}}}\n"


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
        "modifiers: [{type: prune, allocation: erk, sparsity: 0.3}]\n",
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
        step('pattern: "2:4", table: table.json'),
        step("allocation: sensitivity, sparsity: 0.3"),
        step("allocation: erk, sparsity: 0.3, table: table.json"),
        step("allocation: erk, sparsity: 0.3, seed: 1"),
        step("allocation: erk, sparsity: 0.3, score: wanda, seed: 1"),
        step("allocation: erk, sparsity: 0.3, calibration: {images: 64}"),
        step("allocation: erk, sparsity: 0.3, score: wanda, calibration: 64"),
        step("allocation: erk, sparsity: 0.3, score: wanda, calibration: {images: 0}"),
        step("allocation: erk, sparsity: {ap_drop: 5}"),
        step("allocation: erk, sparsity: {ap_drop: 0.005, size: 2MB}"),
        step("allocation: erk, sparsity: {ap_drop: 0.005, neck: 0.3}"),
        step("allocation: erk, sparsity: {size: 2.5}"),
        step("allocation: erk, sparsity: {size: 2 megs}"),
        step("allocation: erk, sparsity: {size: 2MB, images: 64}"),
        step("allocation: erk, sparsity: {images: 64}"),
        step('pattern: "2:4", sparsity: {size: 2MB}'),
        repair("sparsity: 0.3"),
        repair("method: lsq"),
        repair("method: bias, damping: 0.1"),
        repair("steps: 400"),
        repair("method: distill, learning_rate: 0"),
        repair("calibration: 32"),
        repair("calibration: {image: 32}"),
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
        step("allocation: erk, sparsity: {ap_drop: '${points / 100}'}"),
        step("allocation: erk, sparsity: {size: '${share}%'}"),
        step("allocation: '${how}', sparsity: 0.3, table: table.json"),
        step("allocation: erk, sparsity: 0.3, score: '${score}', seed: '${n}'"),
        repair("method: '${method}', damping: '${d}', calibration: {images: '${n}', split: '${split}'}"),
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
    None,
    "",
    "val",
    "erk",
    "2:4",
    "1:16",
    "2-4",
    {},
    {"stem": 0.5},
    {"ap_drop": 0.01},
    {"ap_drop": 0.01, "images": 64},
    {"size": "60%"},
    {"size": "2.5 MB", "images": 64},
    {"size": "2.5MB", "ap_drop": 0.01},
    {"images": 16},
    {"images": 16, "data": "images"},
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
    """A right recipe with up to four keys changed, for better or worse."""
    prune = {"type": "prune", "allocation": "erk", "sparsity": draw(st.sampled_from((0.3, *BUDGETS)))}
    recipe: dict[str, Any] = {"version": 1, "modifiers": [prune, {"type": "repair"}]}
    keys = [key for key, _ in properties(SCHEMA) if key not in FILE_KEYS]
    for path in draw(st.lists(st.sampled_from([*keys, "modifiers.0", "model.wieghts"]), max_size=4)):
        nodes = [node for key, node in properties(SCHEMA) if key == path]
        right = [node.get("default", ABSENT) for node in nodes]
        right += [word for node in nodes for each in node.get("anyOf", []) for word in each.get("enum", [])]
        value = st.sampled_from(right or [ABSENT]) | st.sampled_from((*ODD, *LISTS))
        put(recipe, path.split("."), copy.deepcopy(draw(value)), draw(st.integers(0, 1)))
    return recipe


BUDGETS: tuple[dict[str, Any], ...] = ({"ap_drop": 0.005, "images": 64}, {"size": "2.5MB"})


def put(part: Any, keys: list[str], value: Any, index: int) -> None:
    """Set or remove a key; of the modifiers the one at `index` is meant."""
    part = part[index] if isinstance(part, list) and index < len(part) else part
    if not isinstance(part, dict):
        return
    if len(keys) > 1:
        put(part.setdefault(keys[0], {}), keys[1:], value, index)
    elif value == ABSENT:
        part.pop(keys[0], None)
    else:
        part[keys[0]] = value


def is_right(recipe: dict[str, Any]) -> bool:
    """Whether the engine takes it; that a second modifier asks for a budget no schema can say."""
    try:
        Recipe.model_validate(recipe)
    except ValidationError as refused:
        return all("second budget" in fault["msg"] for fault in refused.errors())
    return True


@given(recipes())
@settings(max_examples=400)
def test_schema_and_engine_agree_on_whole_recipes(recipe: dict[str, Any]) -> None:
    assert accepts(recipe) == is_right(recipe)


PRUNE: dict[str, Any] = {"type": "prune", "allocation": "erk", "sparsity": 0.3}
WORDS: list[tuple[dict[str, Any], str, list[str]]] = [
    (PRUNE, "score", words_of(Prune.model_fields["score"].annotation)),
    ({**PRUNE, "table": "table.json"}, "allocation", words_of(Prune.model_fields["allocation"].annotation)),
    ({"type": "repair"}, "method", words_of(Repair.model_fields["method"].annotation)),
]
VALUES: dict[str, Any] = {"calibration": {"images": 64}, "table": "table.json", "damping": 0.5, "learning_rate": 0.5}


@pytest.mark.parametrize(("modifier", "chooser", "words"), WORDS, ids=[chooser for _, chooser, _ in WORDS])
def test_schema_and_engine_agree_on_every_setting_with_every_word(
    modifier: dict[str, Any], chooser: str, words: list[str]
) -> None:
    part = Repair if modifier["type"] == "repair" else Prune
    settings = [key for key, field in part.model_fields.items() if field.default is None and key != "sparsity"]
    verdicts = []
    for word in (ABSENT, *words):
        for key in (ABSENT, *settings):
            changed = {**modifier, key: VALUES.get(key, 64), chooser: word}
            recipe = {"version": 1, "modifiers": [{k: v for k, v in changed.items() if ABSENT not in (k, v)}]}
            assert accepts(recipe) == is_right(recipe), recipe
            verdicts.append(accepts(recipe))
    assert {True, False} == set(verdicts)


def test_every_key_is_described_and_no_key_but_those_of_a_section_is_allowed() -> None:
    keys = dict(properties(SCHEMA))
    assert set(FILE_KEYS) | set(Recipe.model_fields) == {key for key in keys if "." not in key}
    assert {"modifiers.sparsity", "modifiers.sparsity.ap_drop", "modifiers.calibration.images"} <= set(keys)
    assert [key for key, node in properties(SCHEMA) if not node.get("description")] == []
    items = (SCHEMA["properties"][key]["items"] for key in ("modifiers", "exports"))
    nodes = [SCHEMA, *items, *(node for _, node in properties(SCHEMA))]
    sections = [each for node in nodes for each in (node, *node.get("anyOf", ())) if "properties" in each]
    assert len(sections) == 12  # the whole, four, an export, its nms, two modifiers, two calibrations, a budget
    assert all(node["additionalProperties"] is False for node in sections)


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
