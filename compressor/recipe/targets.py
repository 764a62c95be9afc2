"""How an entry of `targets`, `ignore` or a mapping of sparsities is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_KERNEL = re.compile(r"kernel: ?([1-9][0-9]?x[1-9][0-9]?)")


def _kernel_as_text(entry: Any) -> Any:
    """`- kernel: 3x3` is a mapping to YAML; it means the same as the text."""
    if isinstance(entry, Mapping) and list(entry) == ["kernel"] and isinstance(entry["kernel"], str):
        return f"kernel: {entry['kernel']}"
    return entry


def _well_formed(entry: str) -> str:
    if not entry.strip():
        raise PydanticCustomError("R115", "is an empty target", {"help": '"*" means every convolution'})
    if entry.startswith("re:"):
        try:
            re.compile(entry.removeprefix("re:"))
        except (re.error, OverflowError, RecursionError) as fault:
            message = "is not a regular expression: {fault}"
            context = {"fault": str(fault), "help": "text after re: follows Python's re syntax"}
            raise PydanticCustomError("R115", message, context) from fault
    if entry.startswith("kernel:"):
        found = _KERNEL.fullmatch(entry)
        if not found:
            context = {"help": "write a kernel as height x width: kernel: 3x3"}
            raise PydanticCustomError("R115", "names no kernel size", context)
        return f"kernel: {found[1]}"
    return entry


def is_well_formed(entry: Any) -> bool:
    """Whether `entry` can be a target at all, on whatever model."""
    try:
        return isinstance(entry, str) and bool(_well_formed(entry))
    except PydanticCustomError:
        return False


_JSON_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"kernel": {"type": "string", "pattern": "^[1-9][0-9]?x[1-9][0-9]?$"}},
            "required": ["kernel"],
            "additionalProperties": False,
        },
    ]
}

Target = Annotated[str, BeforeValidator(_kernel_as_text), AfterValidator(_well_formed), WithJsonSchema(_JSON_SCHEMA)]
