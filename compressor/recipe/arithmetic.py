"""Plain arithmetic on numbers and names, read as a syntax tree and never executed."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

Value = str | int | float | bool
Lookup = Callable[[str], Value]  # a variable's value; may raise

_LONGEST = 200  # characters; keeps numbers small enough to compute with
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
    if len(text) > _LONGEST:
        raise ValueError(f"an expression of more than {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as fault:
        raise ValueError("this is not plain arithmetic") from fault
    try:
        value = _value(tree.body, lookup)
    except ZeroDivisionError as fault:
        raise ValueError("a division by zero") from fault
    except OverflowError as fault:
        raise ValueError("the result is too large") from fault
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("the result is too large")
    return value


def _value(node: ast.expr, lookup: Lookup) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return lookup(name)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_number(operand, lookup))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _BINARY[type(sign)](_number(left, lookup), _number(right, lookup))
        case _:
            raise ValueError("only numbers, names, parentheses and + - * / // % are known")


def _number(node: ast.expr, lookup: Lookup) -> int | float:
    value = _value(node, lookup)
    if isinstance(value, bool | str):
        raise ValueError(f"{ast.unparse(node)} is not a number")
    return value
