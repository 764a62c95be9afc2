"""A recipe as YAML for people: every key below a comment that says what it means."""

from __future__ import annotations

import inspect
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from compressor.printable import printable
from compressor.recipe.load import load_recipe
from compressor.recipe.part import Part, words_of
from compressor.recipe.schema import Recipe
from compressor.recipe.write import value_text

YOUR_DATA = "YOUR_DATA.yaml"  # stands where a data set has to be named

_WIDTH = 110  # of comments
_WRITTEN = {"pattern": 'unstructured, or N:M such as "2:4"'}
_BOUNDS = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}


def commented(recipe: Recipe, header: Sequence[str], notes: Mapping[str, str]) -> str:
    """The recipe's text, of which it is made sure that reading it gives the recipe.

    Args:
        recipe: what to write.
        header: the first lines, comments all of them.
        notes: what else there is to say of a key, where it stands first.
    """
    text = "".join(f"{line}\n" for line in (*header, *_lines(recipe, dict(notes))))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(text, encoding="utf-8")
        assert load_recipe(file).recipe == recipe
    return text


def comment(text: str, indent: str = "") -> list[str]:
    """Text of any length and with any letters as lines of comment."""
    return [f"{indent}# {line}" for line in textwrap.wrap(printable(text), _WIDTH, break_on_hyphens=False)]


def _lines(part: Part, notes: dict[str, str], indent: str = "") -> Iterator[str]:
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        if value is None and (indent or key != "data"):  # what another key says already
            continue
        if not indent:
            yield ""
        meaning = field.description or (inspect.getdoc(value) if isinstance(value, Part) and indent else None)
        for text in (meaning or "", notes.pop(key, "")):
            yield from comment(text, indent)
        if isinstance(value, Part):
            yield f"{indent}{key}:"
            yield from _lines(value, notes, indent + "  ")
        elif isinstance(value, tuple) and any(isinstance(item, Part) for item in value):
            yield f"{indent}{key}:"
            for item in value:
                yield from _item(list(_lines(item, notes, indent + "    ")), indent + "  ")
        elif value is None:
            yield f"# {key}: {YOUR_DATA}"
        else:
            yield from _entry(f"{indent}{key}:", value, _choices(key, field))


def _entry(key: str, value: Any, choices: str | None) -> list[str]:
    """A key and its value on one line; a long list below one another."""
    told = f"  # {choices}" if choices else ""
    line = f"{key} {value_text(value)}{told}"
    if not isinstance(value, tuple) or len(line) <= _WIDTH:
        return [line]
    indent = " " * (len(key) - len(key.lstrip()) + 2)
    return [f"{key}{told}", *(f"{indent}- {value_text(item)}" for item in value)]


def _item(lines: list[str], indent: str) -> list[str]:
    """A mapping as an item of a list: a dash before its first key."""
    first = next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
    return [*lines[:first], f"{indent}- {lines[first].lstrip()}", *lines[first + 1 :]]


def _choices(key: str, field: FieldInfo) -> str | None:
    """What else a key may hold."""
    if key in _WRITTEN:
        return _WRITTEN[key]
    words = words_of(field.annotation)
    if len(words) > 1:
        return f"{', '.join(words[:-1])} or {words[-1]}"
    bounds = _bounds(field.annotation, *field.metadata)
    if bounds.keys() == {"ge", "le"}:
        return None if bounds["ge"] == bounds["le"] else f"{bounds['ge']} to {bounds['le']}"
    return " and ".join(text.format(bounds[end]) for end, text in _BOUNDS.items() if end in bounds) or None


def _bounds(*parts: Any) -> dict[str, Any]:
    """The bounds that an annotation and what stands beside it put on numbers, by their words in pydantic."""
    found: dict[str, Any] = {}
    for part in parts:
        found |= {end: getattr(part, end) for end in _BOUNDS if hasattr(part, end)}
        found |= _bounds(*get_args(part), *getattr(part, "metadata", ()))
    return found
