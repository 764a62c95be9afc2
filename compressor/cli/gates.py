"""Gates on the command line."""

from __future__ import annotations

from collections.abc import Iterable

import click

from compressor.cli.console import Console
from compressor.recipe.gates import parse_gate
from compressor.report.tables import verdict_text
from compressor.results.gates import Verdict


def check_gates(gates: Iterable[str], option: str) -> None:
    """Refuse what is no gate."""
    for gate in gates:
        try:
            parse_gate(gate)
        except ValueError as fault:
            raise click.UsageError(f"{option}: {gate!r} is not a gate; {fault}") from fault


def print_verdicts(verdicts: Iterable[Verdict], name: str, console: Console) -> None:
    """A line for each gate that failed, to stderr."""
    for verdict in verdicts:
        if verdict.failed:
            console.warn(f"{name + ': ' if name else ''}gate failed: {verdict_text(verdict)}")
