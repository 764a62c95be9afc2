"""Text that a person wrote, as Markdown that shows just that text: no element, no link, no image.

What CommonMark and GitHub give a meaning to gets a backslash before it (CommonMark 0.31.2, 2.4), and nothing else, so
that most text stays as readable as it was.
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
    | (?<![^\W_])_+             # emphasis, which begins and ends beside no letter
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
    """One line of Markdown that shows a text within a line or a cell of a table; blanks at its ends are left out."""
    return _INLINE.sub(lambda found: "".join(f"\\{letter}" for letter in found[0]), printable(text).strip())


def escaped(text: str) -> str:
    """As `inline`, for a text that may also stand at the start of a line, where it then begins no block."""
    line = inline(text)
    start = len(line) - len(line.lstrip("0123456789"))
    found = _AT_THE_START.match(line, start) if start <= _MOST_DIGITS else None
    if found is None or (start == 0) == (found[0] in ".)"):
        return line
    return f"{line[:start]}\\{line[start:]}"


_MOST_DIGITS = 9  # of the number of a list


def code(text: str) -> str:
    """An escaped text in backticks, where it holds nothing that was escaped; else as it is."""
    return text if not text or "\\" in text else f"`{text}`"


def all_escaped(record: _Record) -> _Record:
    """A frozen record with every text in it escaped, also in its mappings and lists, and of these the keys too."""
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
