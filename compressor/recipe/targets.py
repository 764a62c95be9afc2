"""How an entry of `targets`, `ignore` or a mapping of sparsities is written."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from compressor.recipe.nodes import UNKNOWN

_KERNEL = re.compile(r"kernel: [1-9][0-9]?x[1-9][0-9]?")
_KERNEL_HELP = "write a kernel as height x width: kernel: 3x3"


def _kernel_as_text(entry: Any) -> Any:
    """`- kernel: 3x3` is a mapping to YAML; it means the same as the text."""
    if not isinstance(entry, Mapping):
        return entry
    if list(entry) == ["kernel"]:
        return f"kernel: {entry['kernel']}"
    raise PydanticCustomError("R115", "is a mapping other than kernel: 3x3", {"help": _KERNEL_HELP})


def _well_formed(entry: str) -> str:
    if not entry.removeprefix("re:").strip() or entry == UNKNOWN:
        raise PydanticCustomError("R115", "is an empty target", {"help": '"*" means every convolution'})
    if entry.startswith("re:"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # of brackets that may one day mean something else
                re.compile(entry.removeprefix("re:"))
        except (re.error, OverflowError, RecursionError, Warning) as fault:
            message = "is not a regular expression: {fault}"
            context = {"fault": str(fault), "help": "text after re: follows Python's re syntax"}
            raise PydanticCustomError("R115", message, context) from fault
    if entry.startswith("kernel:") and not _KERNEL.fullmatch(entry):
        raise PydanticCustomError("R115", "names no kernel size", {"help": _KERNEL_HELP})
    return entry


def entry_text(value: Any) -> str | None:
    """The text of an entry that may name layers of some model, or None where it cannot."""
    try:
        text = _kernel_as_text(value)
        return _well_formed(text) if isinstance(text, str) else None
    except PydanticCustomError:
        return None


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
