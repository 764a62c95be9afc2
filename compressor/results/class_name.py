"""Whether two class names are the same."""

from __future__ import annotations

import unicodedata


def one_form(name: str) -> str:
    """A text in Unicode form NFC, so that separate accents (as in macOS file names) make no difference."""
    return unicodedata.normalize("NFC", name)


def plain(class_name: str) -> str:
    """A class name without what does not distinguish classes: case, blanks and the form of accents."""
    return one_form("".join(one_form(class_name).casefold().split()))
