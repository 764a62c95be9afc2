"""Frozen data as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any


def to_json(record: Any, **head: Any) -> str:
    """A frozen record as indented JSON in full precision, `head` keys first, ending in a newline.

    Numbers of one list stand on one line.
    """
    text = json.dumps({**head, **asdict(record)}, indent=2, allow_nan=False, ensure_ascii=False)
    return _NUMBERS.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


_NUMBERS = re.compile(r"\[\n\s+(?:(?:[-+.\deE]+|null),?\s+)+\]")  # no text of a JSON document holds a line break
