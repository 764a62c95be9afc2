"""When two class names are the same one."""

from __future__ import annotations

import unicodedata


def one_form(name: str) -> str:
    """The same text whether accents stand alone (as macOS writes names) or not: Unicode's form NFC."""
    return unicodedata.normalize("NFC", name)


def plain(class_name: str) -> str:
    """A class name without what does not tell classes apart: case, blanks and the form of accents."""
    return one_form("".join(one_form(class_name).casefold().split()))
