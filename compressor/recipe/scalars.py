"""What a single value of YAML 1.1 stands for, and where that is not what it looks like."""

from __future__ import annotations

import re

import yaml

Scalar = str | int | float | bool | None

NO_LETTER = re.compile("[\ud800-\udfff\ufffe\uffff]")  # halves of a surrogate pair, and codes that are no character

_STANDARD = "tag:yaml.org,2002:"
_LONGEST_NUMBER = 100  # digits
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
_SPECIAL = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
_RESOLVER = yaml.resolver.Resolver()


def tag_of(node: yaml.Node) -> str | None:
    """A tag that was written out and changes what the node means, such as `!!set`; None where there is none."""
    match node:
        case yaml.ScalarNode():
            plain = node.style is None
            usual = _RESOLVER.resolve(  # type: ignore[no-untyped-call]  # of PyYAML's stubs
                yaml.ScalarNode, node.value, (plain, not plain)
            )
        case yaml.SequenceNode():
            usual = f"{_STANDARD}seq"
        case _:
            usual = f"{_STANDARD}map"
    return None if node.tag == usual else node.tag.replace(_STANDARD, "!!")


def scalar(node: yaml.ScalarNode) -> tuple[Scalar, tuple[str, str] | None]:
    """The value, and where YAML reads it otherwise than its writer meant, what and how to mend."""
    text = str(node.value)
    kind = node.tag.removeprefix(_STANDARD)
    surprise = _surprise(kind, text, quoted=node.style is not None)
    return (None if surprise else _value(kind, text)), surprise


def _value(kind: str, text: str) -> Scalar:
    """The value of a text that holds no surprise."""
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case _:
            return text


def _surprise(kind: str, text: str, *, quoted: bool) -> tuple[str, str] | None:
    if NO_LETTER.search(text):
        return "the text holds a code that is no character", "write the letter itself"
    if quoted:
        return None
    in_quotes = f'text needs quotes: "{text}"'
    match kind:
        case "int" | "float" if len(text) > _LONGEST_NUMBER:
            return "a number this long cannot be meant", "write fewer digits"
        case "bool" if text.lower() not in ("true", "false"):
            return f"YAML reads {text} as a truth value", f'write true or false, or "{text}" in quotes for text'
        case "int" if not _INT.fullmatch(text):
            return _other_number(text)
        case "float" if _FLOAT.fullmatch(text):
            too_large = abs(float(text)) == float("inf")
            return (f"YAML reads {text} as infinity", "write a smaller number") if too_large else None
        case "float" if not _SPECIAL.fullmatch(text):
            return _other_number(text)
        case "str" if _EXPONENT.fullmatch(text):
            return f"YAML reads {text} as text", f"write it with a decimal point: {_with_point(text)}"
        case "str" | "bool" | "int" | "float" | "null":
            return None
        case "timestamp":
            return f"YAML reads {text} as a date", in_quotes
        case _:  # = and <<
            return f"YAML reads {text} in its own way", in_quotes


def _other_number(text: str) -> tuple[str, str]:
    """`2:4` is 124 to YAML 1.1, which counts in sixties; `017` is 15, and `1_0` is 10."""
    try:
        number = f"as the number {yaml.safe_load(text)}"
    except (ValueError, ArithmeticError):
        number = "as a number"
    return f"YAML reads {text} {number}", f'write "{text}" in quotes, or a plain decimal number'


def _with_point(text: str) -> str:
    """`1e-3` as YAML 1.1 reads a number: `1.0e-3`."""
    mantissa, _, exponent = text.lower().partition("e")
    point = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{point}e{exponent if exponent[0] in '+-' else '+' + exponent}"
