"""Every error code with its reason, and one wrong and one right example; read from the YAML files beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

import yaml

from compressor.errors import Diagnostic, InputError, did_you_mean

Kind = Literal["recipe", "command", "dataset", "text"]


@dataclass(frozen=True)
class Rule:
    """What stands behind one error code.

    Attributes:
        code: a letter for the family and three digits, as errors print it.
        title: the fault as a noun phrase.
        text: why the rule exists, what the tool does, and how to mend; paragraphs are parted by an empty line.
        kind: what the examples are: a whole recipe, a command line, a dataset YAML, or text to show as it is.
        wrong: an example that the rule refuses; None where no text can show one.
        right: the same example, mended.
    """

    code: str
    title: str
    text: str
    kind: Kind
    wrong: str | None
    right: str | None


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """All rules, by code."""
    found: list[Rule] = []
    for file in resources.files("compressor.rules").iterdir():
        if file.name.endswith(".yaml"):
            found += [_rule(entry) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]
    return tuple(sorted(found, key=lambda rule: rule.code))


def find_rule(code: str) -> Rule:
    """The rule of a code, in upper or lower case.

    Raises:
        InputError: U904 no rule has this code.
    """
    by_code = {rule.code: rule for rule in rules()}
    wanted = code.upper()
    if wanted not in by_code:
        help_text = did_you_mean(wanted, by_code) or "`compressor explain` without a code lists them all"
        raise InputError(Diagnostic("U904", f"there is no rule {code!r}", help=help_text))
    return by_code[wanted]


_OPTIONAL: dict[str, Any] = {"kind": "text", "wrong": None, "right": None}


def _rule(entry: dict[str, Any]) -> Rule:
    """One entry of a file; the examples may be left out, and the line breaks inside a paragraph mean nothing."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in entry["text"].split("\n\n"))
    return Rule(**(_OPTIONAL | entry | {"text": "\n\n".join(paragraphs)}))
