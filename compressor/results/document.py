"""Frozen data as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any


def to_json(record: Any, **head: Any) -> str:
    """A frozen record as indented JSON in full precision, `head` keys first, ending in a newline.

    A list of numbers is on one line. Bytes of names that are not UTF-8, which JSON cannot hold, are written as escapes.
    """
    text = json.dumps({**head, **asdict(record)}, indent=2, allow_nan=False, ensure_ascii=False)
    text = _NO_TEXT.sub(lambda found: "\\\\" + ascii(found[0])[2:-1], text)
    return _NUMBERS.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


_NO_TEXT = re.compile(r"[\ud800-\udfff]")  # how Python reads bytes that are not UTF-8
_NUMBERS = re.compile(r"\[\n\s+(?:(?:[-+.\deE]+|null),?\s+)+\]")  # strings in JSON contain no line breaks
