"""Escapes text that a person wrote, so that Markdown shows exactly that text: no element, no link, no image.

Only characters with a meaning in CommonMark or on GitHub get a backslash (CommonMark 0.31.2, 2.4), so that most text
stays as readable as it was.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from compressor.printable import printable

_Record = TypeVar("_Record")

_INLINE = re.compile(
    r"""
    [\\`*\[\]~|$]               # code, emphasis, links, images, footnotes, strikethrough, columns, formulas
    | \#                        # closes a heading
    | &(?=[#A-Za-z])            # entities
    | <(?![ =])                 # tags and links in angle brackets
    | (?<![^\W_])_+             # emphasis, which begins and ends where no letter is
    | _+(?![^\W_])
    | (?<!\d):(?=\S)            # addresses that are made links, and names of pictograms
    | :(?=[^\d\s])
    | (?<=www)\.(?=\S)          # addresses without a scheme
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AT_THE_START = re.compile(
    r"""
    >                           # quotes
    | [-+=](?=[-+=\s]|$)        # lists, rules and underlines of headings
    | (?<=\d)[.)](?=\s|$)       # numbered lists
    """,
    re.VERBOSE,
)


def inline(text: str) -> str:
    """A text escaped for use within a line of Markdown or a table cell; blanks at its ends are left out."""
    return _INLINE.sub(lambda found: "".join(f"\\{letter}" for letter in found[0]), printable(text).strip())


def escaped(text: str) -> str:
    """A text escaped as by `inline`, and so that it starts no block at the start of a line."""
    line = inline(text)
    start = len(line) - len(line.lstrip("0123456789"))
    found = _AT_THE_START.match(line, start) if start <= _MOST_DIGITS else None
    if found is None or (start == 0) == (found[0] in ".)"):
        return line
    return f"{line[:start]}\\{line[start:]}"


_MOST_DIGITS = 9  # of the number of a list


def code(text: str) -> str:
    """An escaped text in backticks if nothing in it was escaped; else unchanged."""
    return text if not text or "\\" in text else f"`{text}`"


def all_escaped(record: _Record) -> _Record:
    """A frozen record with all texts in it escaped, including those in mappings (keys too) and lists."""
    escaped_record: _Record = _escaped(record)
    return escaped_record


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {_escaped(key): _escaped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_escaped(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _escaped(getattr(value, field.name)) for field in fields(value)})
    return value
