"""Properties of the recipe language, on recipes and arguments that nobody would think of."""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compressor.errors import Diagnostic, RecipeError
from compressor.recipe.arithmetic import Value, evaluate
from compressor.recipe.load import load_recipe, read_draft
from compressor.recipe.nodes import parse
from compressor.recipe.overrides import Override, parse_set
from compressor.recipe.write import resolved_text
from compressor.rules.catalogue import rules
from compressor.tasks.check import stock_misfits

CODES = {rule.code for rule in rules()}
LONGEST = 5.0  # seconds for one small recipe, on a busy machine
BASE = """\
version: 1
variables: {share: 0.3, spare: 2}
modifiers:
  - {type: prune, allocation: erk, sparsity: "${share}"}
"""
VALID = """\
# everything a recipe can hold
extends: base.yaml
version: 1
description: "prune ${100 * share} %, $${literally}"
variables:
  share: 0.3
  more: ${share * 1.5}
  spare: 2
model:
  weights: yolov5s.pt
  fuse: before
data: coco128.yaml
modifiers:
  - type: prune
    targets: [backbone, C3, "*.conv", "re:model[.](2|4)[.].*", kernel: 3x3]
    ignore: [stem, "kernel: 1x1"]
    allocation: uniform
    sparsity: ${share}
    score: magnitude
  - type: prune
    allocation: global
    sparsity:
      "*": ${more}
      detect: 0.05
  - {type: prune, pattern: "2:4", ignore: [stem], targets: &where ["*"]}
  - type: repair
    targets: [backbone, neck]
    damping: ${share / 10}
    calibration:
      images: ${spare * 32}
      data: images
      split: val
      seed: 3
      judged: true
  - {type: prune, allocation: lamp, score: wanda, sparsity: {ap_drop: 0.005, images: 64}, calibration: {images: 8}}
  - {type: prune, targets: [detect], allocation: sensitivity, table: table.json, score: random, seed: 7, sparsity: .4}
  - {type: repair, method: distill, steps: 20, batch_size: 4, crop: 64, learning_rate: 0.01}
evaluation: {baseline: true, split: val, image_size: 640, conf_thres: 1.0e-3, iou_thres: .65, resize: ceil}
artifact: {dtype: float16, layout: bitmask}
"""
NASTY = [
    "",
    "~",
    "yes",
    "no",
    "0x10",
    "017",
    "1_000",
    "2:4",
    "1e-3",
    ".nan",
    "-.inf",
    "2026-01-01",
    "[]",
    "{}",
    "[[[",
    "*where",
    "&where",
    "!!python/object:os.system",
    "!!set {a}",
    "<<",
    "=",
    "?",
    "|",
    ">-",
    "%",
    "@",
    "`",
    "#",
    "- a",
    "a: b",
    '"',
    "'",
    '"\\ud800"',
    '"\\uffff"',
    "\ufeff",
    "\x00",
    "\x85",
    "\u2028",
    "\t",
    "\r",
    "${",
    "${}",
    "${share",
    "${{}}",
    "$${share}",
    "${share * share}",
    "${1 / 0}",
    "${__import__('os')}",
    "${more}${more}",
    "9" * 400,
    "x" * 3000,
    "re:(",
    "re:[[]",
    "kernel: 3",
    "kernel: 3x3",
    "30%",
    "2.5MB",
    "{ap_drop: 5}",
    "{size: 60%, images: 3}",
    "{images: ~}",
    "distill",
    "repair",
    "r.yaml",
    "base.yaml",
    "..",
    "a\\0b",
    "é",
]


@pytest.fixture(scope="module", autouse=True)
def empty_folder() -> Iterator[None]:
    """Recipes that name files name none of ours."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        yield
        os.chdir(before)


@contextmanager
def recipe_of(data: bytes) -> Iterator[Path]:
    Path("base.yaml").write_text(BASE, encoding="utf-8")
    path = Path("r.yaml")
    path.write_bytes(data)
    yield path


def check_draft(path: Path, overrides: tuple[Override, ...] = ()) -> None:
    """The recipe is valid, or refused with faults that say what and where; in bounded time either way."""
    start = time.monotonic()
    draft = read_draft(path, overrides)
    misfits = stock_misfits(draft)
    assert time.monotonic() - start < LONGEST
    assert (draft.recipe is None) == bool(draft.faults)
    flags = {override.flag for override in overrides}
    for fault in (*draft.faults, *misfits):
        check_fault(fault, flags)


def check_fault(fault: Diagnostic, flags: set[str]) -> None:
    assert fault.code in CODES
    assert fault.message.isprintable()
    assert 3 <= len(fault.message) <= 400
    assert fault.help is None or fault.help.isprintable()
    assert fault.path
    if fault.path in flags or fault.code == "R108":
        return
    assert Path(fault.path).is_file()
    assert fault.line is not None
    assert fault.column is not None
    lines = re.split(r"\r\n?|\n", Path(fault.path).read_bytes().decode("utf-8-sig", "replace"))
    assert 1 <= fault.line <= len(lines)
    assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1


SLIPS = ["delete", "insert", "replace", "nasty", "value", "double", "swap", "cut", "indent"]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The valid recipe after a few slips."""
    text = VALID
    for _ in range(draw(st.integers(1, 4))):
        lines = text.splitlines(keepends=True) or [""]
        row = draw(st.integers(0, len(lines) - 1))
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        match draw(
            st.sampled_from(["delete", "insert", "replace", "nasty", "value", "double", "swap", "cut", "indent"])
        ):
            case "delete":
                text = text[:start] + text[end:]
            case "insert":
                text = text[:start] + draw(st.text(max_size=6)) + text[start:]
            case "replace":
                text = text[:start] + draw(st.text(alphabet=" :-{}[],'\"#&*!|>%@`\n\t$0a", max_size=4)) + text[end:]
            case "nasty":
                text = text[:start] + draw(st.sampled_from(NASTY)) + text[start:]
            case "value":
                key, colon, _ = lines[row].partition(": ")
                lines[row] = f"{key}{colon}{draw(st.sampled_from(NASTY))}\n"
                text = "".join(lines)
            case "double":
                text = "".join([*lines[: row + 1], *lines[row:]])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[row], lines[other] = lines[other], lines[row]
                text = "".join(lines)
            case "cut":
                text = text[:start]
            case _:
                lines[row] = draw(st.sampled_from([" ", "  ", "\t", "- ", ""])) + lines[row].lstrip()
                text = "".join(lines)
    return text


def test_recipe_that_is_mutated_is_valid_to_begin_with() -> None:
    with recipe_of(VALID.encode()) as path:
        draft = read_draft(path)
        assert draft.faults == ()
        assert draft.recipe


@given(mutated())
@settings(max_examples=120)
@example("")
@example("fuse: $${?}\n")
@example(VALID.replace("before", "$${?}"))
@example(VALID.replace("before", '"\\uffff"'))
def test_mutated_recipe_is_valid_or_refused_with_a_place_and_a_sentence(text: str) -> None:
    with recipe_of(text.encode("utf-8", "surrogatepass")) as path:
        check_draft(path)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@settings(max_examples=150)
def test_any_bytes_are_valid_or_refused(data: bytes) -> None:
    with recipe_of(data) as path:
        check_draft(path)


KEYS = ["modifiers", "0", "1", "-1", "sparsity", "model", "weights", "evaluation", "image_size", "version", "variables"]
KEYS += ["4", "5", "calibration", "images", "seed", "method", "damping", "type", "ap_drop", "size", "score", "table"]
KEYS += ["share", "extends", "data", "targets", "ignore", "*", "detect", "", " ", "²", "9" * 30, "x", "\ud800"]
PATHS = st.lists(st.sampled_from(KEYS) | st.text(max_size=5), min_size=1, max_size=5).map(".".join)
VALUES = st.sampled_from(NASTY) | st.text(max_size=20) | st.floats().map(str) | st.integers().map(str)
ARGUMENTS = st.tuples(PATHS, VALUES).map("=".join) | st.text(max_size=30)


@given(st.lists(ARGUMENTS, max_size=3))
@settings(max_examples=200)
def test_any_overrides_are_taken_or_refused(arguments: list[str]) -> None:
    with recipe_of(VALID.encode()) as path:
        try:
            overrides = tuple(parse_set(argument) for argument in arguments)
        except RecipeError as refused:
            assert [fault.code for fault in refused.diagnostics] == ["R110"]
            return
        check_draft(path, overrides)


# ---------------------------------------------------------------------------------------------------- arithmetic
NAMES: dict[str, Value] = {"a": 3, "b": 0.25, "zero": 0, "far": -1e12}
NUMBERS = st.integers(0, 10**6).map(str) | st.floats(1e-6, 1e6).map(repr) | st.sampled_from(sorted(NAMES))
SIGNS = st.sampled_from(["+", "-", "*", "/", "//", "%"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, SIGNS, inner).map(" ".join)
    return binary | binary.map("({})".format) | st.tuples(st.sampled_from("+-"), inner).map("".join)


@given(st.recursive(NUMBERS, _larger, max_leaves=12))
@settings(max_examples=300)
def test_arithmetic_is_pythons_own(text: str) -> None:
    try:
        expected = eval(text, {"__builtins__": {}}, dict(NAMES))  # of numbers and signs made above
    except ZeroDivisionError:
        with pytest.raises(ValueError, match=r"division by zero|too large|200 characters"):
            evaluate(text, NAMES.__getitem__)
        return
    if len(text) > 200 or abs(expected) > 1e200:
        return
    value = evaluate(text, NAMES.__getitem__)
    assert isinstance(value, int | float)
    assert value == expected or math.isclose(value, expected, rel_tol=1e-9)
    assert isinstance(value, int) <= (value == int(expected))


@given(st.text(max_size=60) | st.text(alphabet="0123456789.e+-*/%()ab_ ", max_size=60))
@settings(max_examples=300)
def test_any_text_is_evaluated_or_refused_with_a_sentence(text: str) -> None:
    try:
        value = evaluate(text, NAMES.__getitem__)
    except ValueError as fault:
        assert str(fault)
    except KeyError as fault:  # what this lookup raises
        assert fault.args[0] not in NAMES
    else:
        assert isinstance(value, int) or math.isfinite(float(value))


# ------------------------------------------------------------------------------------------------------- resolving
FRACTIONS = st.floats(0.001, 0.999)
TARGETS = st.sampled_from(["*", "backbone", "neck", "detect", "C3", "kernel: 3x3", "re:model[.]2.*", "model.*.conv"])
LISTS = st.lists(TARGETS, max_size=4)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=30)


COUNTS = st.integers(1, 4096)
SEEDS = st.integers(0, 2**32 - 1)
CALIBRATIONS = st.fixed_dictionaries(
    {},
    optional={
        "images": COUNTS,
        "data": TEXTS.filter(str.strip),
        "split": st.sampled_from(["train", "val", "test"]),
        "image_size": st.integers(32, 8192),
        "seed": SEEDS,
        "judged": st.booleans(),
    },
)
BUDGETS = st.fixed_dictionaries({"ap_drop": FRACTIONS}, optional={"images": COUNTS}) | st.fixed_dictionaries(
    {"size": st.sampled_from(["2.5MB", "60%", "12 kB", "0.5gb"])}
)
SOLVED = st.fixed_dictionaries(
    {"method": st.sampled_from(["least_squares", "obs"])},
    optional={"damping": FRACTIONS, "crops": st.integers(1, 1000), "crop": st.integers(32, 8192)},
)
DISTILLED = st.fixed_dictionaries(
    {"method": st.just("distill")},
    optional={"steps": COUNTS, "batch_size": COUNTS, "crop": st.integers(32, 8192), "learning_rate": FRACTIONS},
)
MATCHED = st.fixed_dictionaries({"method": st.sampled_from(["bias", "moments", "batchnorm"])})


@st.composite
def prunes(draw: st.DrawFn) -> dict[str, object]:
    values: dict[str, object] = {"type": "prune", "ignore": draw(LISTS)}
    values["score"] = score = draw(st.sampled_from(["magnitude", "raw_magnitude", "wanda", "random"]))
    if score in ("wanda", "random") and draw(st.booleans()):
        values |= {"calibration": draw(CALIBRATIONS)} if score == "wanda" else {"seed": draw(SEEDS)}
    if draw(st.booleans()):
        return {**values, "pattern": draw(st.sampled_from(["2:4", "1:2", "15:16"])), "targets": ["*"]}
    values["allocation"] = allocation = draw(st.sampled_from(["uniform", "global", "lamp", "erk", "sensitivity"]))
    if allocation == "sensitivity":
        values["table"] = draw(TEXTS)
    values["sparsity"] = draw(FRACTIONS | st.dictionaries(TARGETS, FRACTIONS, min_size=1, max_size=3))
    return values


@st.composite
def repairs(draw: st.DrawFn) -> dict[str, object]:
    values: dict[str, object] = {"type": "repair", "ignore": draw(LISTS), **draw(SOLVED | DISTILLED | MATCHED)}
    return {**values, "calibration": draw(CALIBRATIONS)} if draw(st.booleans()) else values


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, object]]:
    """Some modifiers, of which one at most asks for a budget."""
    found = draw(st.lists(prunes() | repairs(), min_size=1, max_size=3))
    asked = draw(st.integers(0, 2 * len(found)))
    if asked < len(found) and "sparsity" in found[asked]:
        found[asked]["sparsity"] = draw(BUDGETS)
    return found


FILE_NAMES = TEXTS.filter(str.strip)  # of files and data sets, which blanks alone are not

RECIPES = st.fixed_dictionaries(
    {"version": st.just(1), "modifiers": steps()},
    optional={
        "description": TEXTS,
        "data": FILE_NAMES,
        "model": st.fixed_dictionaries(
            {}, optional={"weights": FILE_NAMES, "fuse": st.sampled_from(["after", "never"])}
        ),
        "evaluation": st.fixed_dictionaries(
            {}, optional={"image_size": st.integers(32, 8192), "conf_thres": st.floats(0, 1), "baseline": st.booleans()}
        ),
    },
)


def _escaped(value: object) -> object:
    match value:
        case dict():
            return {key: _escaped(inner) for key, inner in value.items()}
        case list():
            return [_escaped(inner) for inner in value]
        case str():
            return value.replace("${", "$${")
        case _:
            return value


def dumped(values: object) -> str:
    """YAML with every text in quotes, and numbers as they are."""
    return yaml.dump(_escaped(values), Dumper=_Quoting, allow_unicode=True, sort_keys=False)


class _Quoting(yaml.SafeDumper):
    def quoted(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Quoting.add_representer(str, _Quoting.quoted)


@given(RECIPES)
@settings(max_examples=150)
def test_resolved_recipe_resolves_to_itself(values: dict[str, object]) -> None:
    with recipe_of(dumped(values).encode()) as path:
        recipe = load_recipe(path).recipe
    with recipe_of(dumped(recipe.model_dump(mode="json", exclude_none=True)).encode()) as path:
        again = load_recipe(path).recipe
    assert again == recipe
    assert again.model_dump() == recipe.model_dump()


@given(steps())
@settings(max_examples=150)
def test_checked_recipe_is_printed_as_one_that_checks_to_itself(modifiers: list[dict[str, object]]) -> None:
    with recipe_of(dumped({"version": 1, "modifiers": modifiers}).encode()) as path:
        recipe = load_recipe(path).recipe
    text = resolved_text(recipe)
    with recipe_of(text.encode()) as path:
        assert load_recipe(path).recipe == recipe
    assert resolved_text(recipe) == text


@given(steps(), st.data())
@settings(max_examples=150)
def test_override_of_any_key_is_as_if_it_were_written(modifiers: list[dict[str, object]], data: st.DataObject) -> None:
    """Whether right or wrong: the same recipe, or faults of the same codes."""
    index = data.draw(st.integers(0, len(modifiers) - 1))
    key = data.draw(st.sampled_from(["score", "method", "sparsity", "damping", "calibration", "seed", "steps", "type"]))
    value = data.draw(st.sampled_from(["wanda", "distill", 0.25, 7, {"size": "60%"}, {"images": 16}, "repair"]))
    flag = f"modifiers.{index}.{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
    with recipe_of(dumped({"version": 1, "modifiers": modifiers}).encode()) as path:
        set_so = read_draft(path, (parse_set(flag),))
    modifiers[index][key] = value
    with recipe_of(dumped({"version": 1, "modifiers": modifiers}).encode()) as path:
        written_so = read_draft(path)
    assert set_so.recipe == written_so.recipe
    assert sorted(fault.message for fault in set_so.faults) == sorted(fault.message for fault in written_so.faults)


def test_every_scalar_that_is_read_is_one_python_would_write() -> None:
    """A number in quotes stays text, and a plain one is the number it looks like."""
    for number in (0, 7, -3, 0.5, 1.0e-3, 12345.678, 1e22):
        faults: list[Diagnostic] = []
        assert parse(yaml.safe_dump(number), "r.yaml", faults).value == number
        assert parse(f'"{number}"', "r.yaml", faults).value == str(number)
        assert faults == []
