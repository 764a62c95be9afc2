"""Text of strangers, fit to be shown: names, dates and paths of files that anybody may have made.

Everything that prints goes through here - console, tables, messages, pictures, reports, comments in recipes - so that
no letter of a file can move the cursor, change a title or a colour, turn the line around or part a table.
"""

from __future__ import annotations

import json

_BLANKS = "\u00a0\u3000"  # spaces that are no control characters: the non-breaking and the East Asian one


def printable(text: str) -> str:
    """The text on one line; what cannot be printed is written as Python escapes it, a line feed too."""
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """As `printable`, but line feeds and tabs stay what they are."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(letter if letter in "\n\t" else _shown(letter) for letter in text)


def printable_json(text: str) -> str:
    """A JSON document with what cannot be printed as JSON escapes it, so that it stays the same document."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)


def _shown(letter: str) -> str:
    if letter in _BLANKS:
        return " "
    return letter if letter.isprintable() else ascii(letter)[1:-1]
