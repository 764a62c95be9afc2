"""pydantic's findings as sentences for the person who wrote the recipe."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from compressor.errors import Diagnostic, did_you_mean
from compressor.recipe.nodes import Node
from compressor.recipe.schema import FILE_KEYS, TAGS, Recipe
from compressor.recipe.variables import UNKNOWN

_RANGES = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_TYPES = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
}


def explain(error: ValidationError, root: Node) -> list[Diagnostic]:
    """One diagnostic per finding, at the place where the value was written."""
    return [_diagnostic(finding, root) for finding in error.errors() if not _is_echo(finding)]


def _is_echo(finding: ErrorDetails) -> bool:
    """Whether the finding follows from a fault told already.

    A list counts as too short for pydantic when its items are at fault; a variable's fault leaves a value unknown.
    """
    return (finding["type"] == "too_short" and len(finding["input"]) > 0) or finding["input"] == UNKNOWN


def _diagnostic(finding: ErrorDetails, root: Node) -> Diagnostic:
    kind, context = finding["type"], finding.get("ctx", {})
    location, is_key = _location(finding)
    name = dotted(location) or "the recipe"
    place = root.find_key(location) if is_key else root.find(location)
    given = show(finding["input"])
    if kind.startswith("R1"):  # a rule of the schema's own validators; the code is its type
        return place.diagnostic(kind, f"{name} {finding['msg']}", context.get("help"))
    if kind == "extra_forbidden":
        message = f"unknown key {location[-1]!r} in {dotted(location[:-1]) or 'the recipe'}"
        return root.find_key(location).diagnostic("R101", message, _known_keys(location))
    if kind == "missing":
        add = "write version: 1" if location == ("version",) else f"add the key {location[-1]!r}"
        return place.diagnostic("R102", f"{name} is missing", add)
    if kind in _RANGES:
        word, key = _RANGES[kind]
        message = f"{name} must be {word} {context[key]:g}, got {given}"
        return place.diagnostic("R103", message, _fraction_help(location, finding["input"]))
    if kind == "finite_number":
        return place.diagnostic("R103", f"{name} must be a finite number, got {given}")
    if kind in ("too_short", "string_too_short"):
        return place.diagnostic("R103", f"{name} must not be empty", _empty_help(location))
    if kind == "literal_error":
        near = did_you_mean(str(finding["input"]), _choices(context["expected"]))
        return place.diagnostic("R105", f"{name} must be {context['expected']}, got {given}", near)
    if kind in _TYPES:
        return place.diagnostic("R104", f"{name} must be {_TYPES[kind]}, got {given}")
    return place.diagnostic("R104", f"{name}: {finding['msg']}")


def _location(finding: ErrorDetails) -> tuple[tuple[str | int, ...], bool]:
    """Where in the recipe, without pydantic's names of union members; and whether a mapping's key is meant."""
    location = tuple(part for part in finding["loc"] if part not in TAGS)
    return (location[:-1], True) if location and location[-1] == "[key]" else (location, False)


def dotted(location: tuple[str | int, ...]) -> str:
    """`('modifiers', 0, 'sparsity')` as `modifiers[0].sparsity`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def show(value: Any) -> str:
    """A value in the words of YAML rather than of Python."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value!r}"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"{value}"


def _choices(expected: str) -> list[str]:
    return [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]


def _fraction_help(location: tuple[str | int, ...], value: Any) -> str | None:
    if "sparsity" in location:
        fraction = value / 100 if isinstance(value, int | float) and 1 <= value < 100 else 0.5
        return f"sparsity is a fraction; to zero {100 * fraction:g} % of the weights write {fraction:g}"
    return None


def _empty_help(location: tuple[str | int, ...]) -> str | None:
    return (
        "add a modifier, such as {type: prune, allocation: lamp, sparsity: 0.3}" if location == ("modifiers",) else None
    )


def _known_keys(location: tuple[str | int, ...]) -> str:
    known = [*_part_at(location[:-1]).model_fields, *(FILE_KEYS if len(location) == 1 else [])]
    return did_you_mean(str(location[-1]), known) or f"known keys: {', '.join(known)}"


def _part_at(location: tuple[str | int, ...]) -> type[BaseModel]:
    """The part of the schema that `location` leads to."""
    part: type[BaseModel] = Recipe
    for step in location:
        field = part.model_fields.get(str(step))
        found = _models_in(field.annotation) if field else []
        part = found[0] if found else part
    return part


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]
