"""How an entry of `targets`, `ignore` or a mapping of sparsities is written, and what its words are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from compressor.recipe.nodes import UNKNOWN

if TYPE_CHECKING:
    import regex

Role = Literal["stem", "backbone", "neck", "detect"]
ROLES: tuple[Role, ...] = get_args(Role)
MODULE_TYPES = ("Conv2d", "Conv", "C3", "Bottleneck", "SPP", "SPPF", "Focus", "Detect")

# Patterns that JSON Schema and Python read alike.
KERNEL = "^[1-9][0-9]?x[1-9][0-9]?$"  # height x width
N_OF_M = "^[1-9][0-9]?:[1-9][0-9]?$"  # N of every M weights stay

_KERNEL_HELP = "write a kernel as height x width: kernel: 3x3"


@dataclass(frozen=True)
class RoleEntry:
    """The layers of one role, such as `neck`."""

    role: Role


@dataclass(frozen=True)
class TypeEntry:
    """The layers in or of one module type, such as `C3`."""

    kind: str


@dataclass(frozen=True)
class KernelEntry:
    """The layers of one kernel size, such as `3x3`."""

    kernel: str


@dataclass(frozen=True)
class RegexEntry:
    """The layers whose whole name is of a pattern."""

    pattern: regex.Pattern[str]


@dataclass(frozen=True)
class GlobEntry:
    """One layer by its name, or several by a glob."""

    glob: str


Entry = RoleEntry | TypeEntry | KernelEntry | RegexEntry | GlobEntry


@cache
def parse_entry(text: str) -> Entry:
    """What an entry means, told from its text alone.

    Raises:
        PydanticCustomError: R115 it can mean no layer of any model.
    """
    if not text.removeprefix("re:").strip() or text == UNKNOWN:
        raise PydanticCustomError("R115", "is an empty target", {"help": '"*" means every convolution'})
    for role in ROLES:
        if text == role:
            return RoleEntry(role)
    if text in MODULE_TYPES:
        return TypeEntry(text)
    if text.startswith("re:"):
        return RegexEntry(_compiled(text.removeprefix("re:")))
    if text.startswith("kernel:"):
        kernel = text.removeprefix("kernel: ")
        if not re.fullmatch(KERNEL, kernel):
            raise PydanticCustomError("R115", "is not written like kernel: 3x3", {"help": _KERNEL_HELP})
        return KernelEntry(kernel)
    return GlobEntry(text)


def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex  # noqa: PLC0415  # 20 ms that most recipes do not need; unlike `re` it can be told to give up

    try:
        return regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as fault:
        message = "is not a regular expression: {fault}"
        context = {"fault": str(fault), "help": "the text after re: is a regular expression for the whole name"}
        raise PydanticCustomError("R115", message, context) from fault


def entry_text(value: Any) -> str | None:
    """The text of an entry that may name layers of some model, or None where it cannot."""
    try:
        text = _kernel_as_text(value)
        return _well_formed(text) if isinstance(text, str) else None
    except PydanticCustomError:
        return None


def _kernel_as_text(entry: Any) -> Any:
    """`- kernel: 3x3` is a mapping to YAML; it means the same as the text."""
    if not isinstance(entry, Mapping):
        return entry
    if list(entry) == ["kernel"]:
        return f"kernel: {entry['kernel']}"
    raise PydanticCustomError("R115", "is a mapping other than kernel: 3x3", {"help": _KERNEL_HELP})


def _well_formed(text: str) -> str:
    parse_entry(text)
    return text


_JSON_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"kernel": {"type": "string", "pattern": KERNEL}},
            "required": ["kernel"],
            "additionalProperties": False,
        },
    ]
}

Target = Annotated[str, BeforeValidator(_kernel_as_text), AfterValidator(_well_formed), WithJsonSchema(_JSON_SCHEMA)]
