"""Plain arithmetic on numbers and names, read as a syntax tree and never executed."""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

Value = str | int | float | bool
Lookup = Callable[[str], Value]  # a variable's value; may raise

_LONGEST = 200  # characters; keeps the tree shallow
_LARGEST = 10**300  # keeps numbers small enough to compute with and to write out
_KNOWN = "only numbers, names, parentheses and + - * / // % are known"
_ODD_NUMBER = re.compile(r"(?<![A-Za-z_0-9.])[0-9][0-9.]*(_|[xXoObBjJ])")  # 0x10, 1_000 and 2j are Python's
_CHARACTERS = re.compile(r"[A-Za-z0-9_.+\-*/%() \t]*")
_BINARY: dict[type[ast.operator], Callable[[Any, Any], int | float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a // b if isinstance(a, int) and isinstance(b, int) and a % b == 0 else a / b,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], int | float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def evaluate(text: str, lookup: Lookup) -> Value:
    """The value of an expression such as `2 * (sparsity + 0.1)`; a name alone may also stand for text.

    Known are numbers, names, parentheses and + - * / // %. Whole numbers that divide evenly stay whole.

    Raises:
        ValueError: with a sentence saying what cannot be evaluated.
        Exception: whatever `lookup` raises.
    """
    body = _tree(text)
    try:
        return _value(body, lookup)
    except ZeroDivisionError as fault:
        raise ValueError("a division by zero") from fault
    except OverflowError as fault:
        raise ValueError("the result is too large") from fault


def _tree(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise ValueError(f"an expression of more than {_LONGEST} characters")
    if not _CHARACTERS.fullmatch(text) or _ODD_NUMBER.search(text):
        raise ValueError(_KNOWN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of numbers that run into words, such as 1if
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as fault:
        raise ValueError("this is not plain arithmetic") from fault


def _value(node: ast.expr, lookup: Lookup) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _in_range(number)
        case ast.Name(id=name):
            value = lookup(name)
            return value if isinstance(value, bool | str) else _in_range(value)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_number(operand, lookup))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _in_range(_BINARY[type(sign)](_number(left, lookup), _number(right, lookup)))
        case _:
            raise ValueError(_KNOWN)


def _number(node: ast.expr, lookup: Lookup) -> int | float:
    value = _value(node, lookup)
    if isinstance(value, bool | str):
        raise ValueError(f"{ast.unparse(node)} is not a number")
    return value


def _in_range(number: int | float) -> int | float:
    """The number itself; also of a part of an expression, since 1 / 1e999 would be 0 without a word."""
    if abs(number) > _LARGEST:
        raise OverflowError
    if math.isnan(number):
        raise ValueError("a part of it is not a number")
    return number
