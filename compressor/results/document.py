"""Frozen data as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any


def to_json(record: Any, **head: Any) -> str:
    """A frozen record as indented JSON in full precision, `head` keys first, ending in a newline."""
    return json.dumps({**head, **asdict(record)}, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
