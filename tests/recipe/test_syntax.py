"""What the YAML reader stumbles over, and where and how it is told."""

from __future__ import annotations

import pytest
import yaml

from compressor.errors import Diagnostic
from compressor.recipe import syntax
from compressor.recipe.nodes import parse


def fault_of(text: str) -> Diagnostic:
    faults: list[Diagnostic] = []
    assert parse(text, "r.yaml", faults).value is None
    (fault,) = faults
    assert fault.code == "R100"
    assert fault.help
    return fault


CASES = [
    ("a:\n\tb: 1\n", 2, 1, "a tab stands where only spaces may"),
    ("a: @b\n", 1, 4, "a value cannot start with @"),
    ("a: 1\nb\n  - c\n", 2, 1, "no colon follows this key"),
    ("a: [*]\n", 1, 5, "a value cannot start with *"),
    ("a: *.b\n", 1, 4, "a value cannot start with *"),
    ("a: &\n", 1, 4, "a value cannot start with &"),
    ("a: *b\n", 1, 4, "there is no anchor 'b'"),
    ("a: &x 1\nb: &x 2\n", 2, 4, "the anchor 'x' is written twice"),
    ("%a: 1\n", 1, 1, "a line that starts with % is no part of a recipe"),
    ("%YAML 1.1\n%YAML 1.1\n---\na: 1\n", 2, 1, "a line that starts with % is no part of a recipe"),
    ("%YAML 2.0\n---\na: 1\n", 1, 1, "a line that starts with % is no part of a recipe"),
    ("a: 1\n---\nb: 2\n", 2, 1, "a second document starts here"),
    ("a: 1\n...\nb: 2\n", 3, 1, "text follows the end of the recipe"),
    ("{a: 1} b\n", 1, 8, "text follows the end of the recipe"),
    ("a: [1\nb: 2\n", 2, 2, "a comma or a ] is missing before the colon"),
    ("a: [1, 2\n", 1, 4, "this [ is not closed"),
    ("a:\n - {b: 1\n", 2, 4, "this { is not closed"),
    ("a: {b: 1\nc: 2\n", 2, 2, "a comma or a } is missing before the colon"),
    ("a: {b: ${c}}\n", 1, 9, "a { is not expected here"),
    ("a: [${c}]\n", 1, 6, "a { is not expected here"),
    ("a: {b: [1}\n", 1, 10, "a comma or a ] is missing before }"),
    ('a: 1\nb: "c\n', 2, 4, "this quote is not closed"),
    ('b: "c\n---\n', 1, 4, "this quote is not closed"),
    ('a: "\\d"\n', 1, 6, "\\d means nothing in double quotes"),
    ('a: "\\xg0"\n', 1, 7, "this escape needs 2 hexadecimal digits"),
    ('a: "\\UFFFFFFFF"\n', 1, 7, "a number is out of range"),
    (f"%YAML 1.{'9' * 5000}\n---\na: 1\n", 1, 9, "a number is out of range"),
    ("a: b: c\n", 1, 5, "a colon is not expected here"),
    ("a: - b\n", 1, 4, "a dash is not expected here"),
    ("a: ? b\n", 1, 4, "a question mark is not expected here"),
    ("a: {b: 1}}\n", 1, 10, "this } closes nothing"),
    ("a: [b]]\n", 1, 7, "this ] closes nothing"),
    ("a: 'b'c\n", 1, 7, "text stands where the value before it has ended"),
    ("a: [b], c\n", 1, 7, "a comma stands where the value before it has ended"),
    ("a:\n  b: 1\n c: 2\n", 3, 2, "this line fits neither the list or mapping above it nor one around it"),
    ("a:\n  - b\n c: 2\n", 3, 2, "this line fits neither the list or mapping above it nor one around it"),
    ("a: [b, , c]\n", 1, 8, "a value is missing before a comma"),
    ("a: !b!c d\n", 1, 4, "a value cannot start with !"),
    ("a: !<b d\n", 1, 4, "a value cannot start with !"),
    ("a: |x\n  b\n", 1, 5, "only a line break may follow | or >"),
    ("a: >0\n  b\n", 1, 5, "only a line break may follow | or >"),
    ("a: \x07\n", 1, 4, "the character U+0007 is not allowed"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), CASES)
def test_slip_is_told_in_plain_words_at_its_place(text: str, line: int, column: int, message: str) -> None:
    fault = fault_of(text)
    assert (fault.line, fault.column, fault.message) == (line, column, f"not valid YAML: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 51 + "]" * 51, "the recipe is nested more than 50 deep"),
        ("? " * 200 + "a", "the recipe is nested more than 50 deep"),
        ("- a\n" * 10_000, "the recipe holds more than 10,000 values"),
        ("a: &a [*a]", "the recipe holds an alias within what it stands for"),
        ("a: &a {b: *a}", "the recipe holds an alias within what it stands for"),
        (
            "a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "*a" + "]" * 30,
            "with its aliases written out the recipe is nested too deep",
        ),
        (
            f"a: &a [{'1, ' * 100}]\nb: [{'*a, ' * 100}]\n",
            "with its aliases written out the recipe holds more than 10,000 values",
        ),
    ],
)
def test_document_that_is_no_recipe_by_its_size_is_told_once(text: str, message: str) -> None:
    assert fault_of(text).message == message


def test_what_the_reader_says_is_never_passed_on() -> None:
    fault = yaml.scanner.ScannerError("while scanning", None, "found something new", None)
    told = syntax.complaint(fault)
    assert "new" not in told.message
    assert told.mark is None


def test_anchors_used_plainly_are_read() -> None:
    faults: list[Diagnostic] = []
    root = parse("a: &x [1, 2]\nb: *x\nc: &y {d: *x}\ne: *y\n", "r.yaml", faults)
    assert faults == []
    assert root.plain() == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}, "e": {"d": [1, 2]}}
