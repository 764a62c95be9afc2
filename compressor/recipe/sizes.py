"""File sizes as people write them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

SIZE = r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([bB]|[kKmMgG][bB]|%)"
SIZE_HELP = "write 2.5MB, 2500kB, or 60% for that share of the dense file"

_BYTES = {"b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}


def parse_size(text: str) -> tuple[Literal["size_bytes"], int] | tuple[Literal["share"], float]:
    """`2.5MB` as 2,500,000 bytes, `60%` as that share of the dense file of the same number type.

    Raises:
        ValueError: it is neither.
    """
    found = re.fullmatch(SIZE, text)
    if found is None:
        raise ValueError(f"{text!r} is not a size; {SIZE_HELP}")
    number, unit = Decimal(found[1]), found[2].lower()
    return ("share", float(number / 100)) if unit == "%" else ("size_bytes", int(number * _BYTES[unit]))
