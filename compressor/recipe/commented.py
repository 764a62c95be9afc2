"""A recipe as YAML for people: every key below a comment that says what it means."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from compressor.recipe.load import load_recipe
from compressor.recipe.schema import Part, Recipe, words_of
from compressor.recipe.write import value_text

YOUR_DATA = "YOUR_DATA.yaml"  # stands where a data set has to be named

_WIDTH = 110  # of comments
_WRITTEN = {"pattern": 'unstructured, or N:M such as "2:4"', "sparsity": "above 0 and below 1"}


def commented(recipe: Recipe, header: Sequence[str], notes: Mapping[str, str]) -> str:
    """The recipe's text, of which it is made sure that reading it gives the recipe.

    Args:
        recipe: what to write.
        header: the first lines, comments all of them.
        notes: what else there is to say of a key.
    """
    text = "".join(f"{line}\n" for line in (*header, *_lines(recipe, notes)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(text, encoding="utf-8")
        assert load_recipe(file).recipe == recipe
    return text


def comment(text: str, indent: str = "") -> list[str]:
    """Text of any length and with any letters as lines of comment."""
    return [f"{indent}# {line}" for line in textwrap.wrap(printable(text), _WIDTH, break_on_hyphens=False)]


def printable(text: str) -> str:
    """Text that neither ends a comment nor moves the cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _lines(part: Part, notes: Mapping[str, str], indent: str = "") -> Iterator[str]:
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        if value is None and key != "data":  # what a pattern says already
            continue
        if not indent:
            yield ""
        for text in (field.description, notes.get(key)):
            yield from comment(text or "", indent)
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
    bounds = field.metadata
    low, high = (next((getattr(bound, end) for bound in bounds if hasattr(bound, end)), None) for end in ("ge", "le"))
    return None if low == high else f"{low} to {high}"
