"""`compressor explain`: what an error code means."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import click

from compressor.cli.completion import complete_code
from compressor.cli.console import Console, console_options
from compressor.errors import Diagnostic, InputError
from compressor.report.tables import Table
from compressor.rules.catalogue import Rule, find_rule, rules

RULES_SCHEMA = "compressor/rules/1"
_WIDTH = 100
_INDENT = " " * 4


@click.command(short_help="Say what an error code means and how to mend its cause.")
@console_options
@click.argument("codes", nargs=-1, metavar="[CODE]...", shell_complete=complete_code)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def explain(*, codes: tuple[str, ...], as_json: bool, console: Console) -> None:
    """Say what an error code means, with an example of the fault and of its mend. Lists all codes when none is given.

    \b
    Example:
      compressor explain R103
    """
    chosen = _find_all(codes) if codes else rules()
    if as_json:
        document = {"schema": RULES_SCHEMA, "rules": [asdict(rule) for rule in chosen]}
        console.document(json.dumps(document, indent=2, ensure_ascii=False))
    elif codes:
        for number, rule in enumerate(chosen):
            console.heading(("\n" if number else "") + f"{rule.code} {rule.title}")
            console.result("\n" + body(rule))
    else:
        rows = tuple((rule.code, rule.title) for rule in chosen)
        console.result(Table(("code", "title"), rows, text_columns=2).text())


def _find_all(codes: Sequence[str]) -> tuple[Rule, ...]:
    """The rules in the order asked for, each once.

    Raises:
        InputError: U904, for every code that no rule has.
    """
    found: dict[str, Rule] = {}
    faults: list[Diagnostic] = []
    for code in codes:
        try:
            rule = find_rule(code)
        except InputError as fault:
            faults += fault.diagnostics
        else:
            found[rule.code] = rule
    if faults:
        raise InputError(*faults)
    return tuple(found.values())


def body(rule: Rule) -> str:
    """The text wrapped to the width of a page, then the examples as they are, indented."""
    paragraphs = rule.text.split("\n\n")
    parts = [textwrap.fill(part, _WIDTH, break_long_words=False, break_on_hyphens=False) for part in paragraphs]
    for label, example in (("Wrong", rule.wrong), ("Right", rule.right)):
        if example is not None:
            parts.append(f"{label}:\n{textwrap.indent(example.rstrip(), _INDENT)}")
    return "\n\n".join(parts)
