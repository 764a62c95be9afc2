from __future__ import annotations

import re

import pytest

from compressor.recipe.arithmetic import Value, evaluate

VALUES: dict[str, Value] = {"x": 0.3, "n": 4, "name": "lamp", "flag": True, "huge": 10**299, "endless": float("inf")}


def lookup(name: str) -> Value:
    return VALUES[name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("  1 ", 1),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("2 - 3 - 4", -5),
        ("2 * 3 % 4", 2),
        ("-2 + 3", 1),
        ("-(2 + 3)", -5),
        ("--2", 2),
        ("+2", 2),
        ("2 - -3", 5),
        ("32 / 2", 16),
        ("32 / 3", 32 / 3),
        ("1 / 4 * 4", 1.0),
        ("32.0 / 2", 16.0),
        ("-7 / 7", -1),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("7 % 3", 1),
        ("-7 % 3", 2),
        ("7.5 % 2", 1.5),
        ("0 / 5", 0),
        ("x", 0.3),
        ("x * 100", 30.0),
        ("n / 2", 2),
        ("n * x", 4 * 0.3),
        ("((((n))))", 4),
        ("name", "lamp"),
        ("flag", True),
        ("huge", 10**299),
    ],
)
def test_value_of_an_expression(text: str, expected: Value) -> None:
    value = evaluate(text, lookup)
    assert (value, type(value)) == (expected, type(expected))


KNOWN = "only numbers, names, parentheses and + - * / // % are known"
SYNTAX = "this is not plain arithmetic"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", SYNTAX),
        ("  ", SYNTAX),
        *((text, KNOWN) for text in ("0x10", "0o17", "0b1", "3_2", "2j", "1 + 0x1")),
        ("2 *", SYNTAX),
        ("(2", SYNTAX),
        ("2)", SYNTAX),
        ("2 3", SYNTAX),
        ("x n", SYNTAX),
        ("007", SYNTAX),
        ("1if x else n", SYNTAX),
        ("lambda", SYNTAX),
        ("x.", SYNTAX),
        ("(" * 100 + "1" + ")" * 99, SYNTAX),
        ("2 ** 9", KNOWN),
        ("x.real", KNOWN),
        ("x(n)", KNOWN),
        ("()", KNOWN),
        ("True", KNOWN),
        ("None", KNOWN),
        ("1j", KNOWN),
        ("not x", KNOWN),
        ("x if x else n", KNOWN),
        ("x and n", KNOWN),
        ("lambda x", SYNTAX),
        ("'a' * 9", KNOWN),
        ("[x]", KNOWN),
        ("x[0]", KNOWN),
        ("x < n", KNOWN),
        ("x = 2", KNOWN),
        ("x := 2", KNOWN),
        ("~n", KNOWN),
        ("n ^ n", KNOWN),
        ("n << 9", KNOWN),
        ("n @ n", KNOWN),
        ("x # and more", KNOWN),
        ("x\n+ 1", KNOWN),
        ("\uff58", KNOWN),  # a wide x, which Python reads as x
        ("\u0663", KNOWN),  # a three in Arabic script
        ("__import__('os')", KNOWN),
        ("1 / 0", "a division by zero"),
        ("1 // 0", "a division by zero"),
        ("1 % 0", "a division by zero"),
        ("1.0 / 0", "a division by zero"),
        ("0 / (n - 4)", "a division by zero"),
        ("1e999", "the result is too large"),
        ("1 / 1e999", "the result is too large"),
        ("1e300 * 1e300", "the result is too large"),
        ("huge * huge", "the result is too large"),
        ("huge * huge / huge / huge", "the result is too large"),
        ("endless", "the result is too large"),
        ("name + 1", "name is not a number"),
        ("-name", "name is not a number"),
        ("1 + flag", "flag is not a number"),
        ("+".join(["1"] * 101), "an expression of more than 200 characters"),
    ],
)
def test_what_is_refused_and_how(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        evaluate(text, lookup)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="a part of it is not a number"):
        evaluate("x + 1", lambda _: float("nan"))


def test_what_lookup_raises_comes_through() -> None:
    with pytest.raises(KeyError):
        evaluate("1 + unknown", lookup)


def test_two_hundred_characters_are_evaluated() -> None:
    assert evaluate("-" * 199 + "1", lookup) == -1
    assert evaluate("+".join(["1"] * 100), lookup) == 100
