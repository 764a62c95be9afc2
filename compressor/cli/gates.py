"""Gates on the command line."""

from __future__ import annotations

from collections.abc import Iterable

import click

from compressor.cli.console import Console
from compressor.errors import AnswerError, Diagnostic
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


def end_where_failed(verdicts: Iterable[Verdict], place: str, mend: str) -> None:
    """End the command where a gate failed.

    Args:
        verdicts: of all gates, told one by one before.
        place: of the run that they judge.
        mend: what else can be done than to compress less.

    Raises:
        AnswerError: U921 a gate failed.
    """
    decided = list(verdicts)
    if failed := sum(verdict.failed for verdict in decided):
        message = f"gates failed: {failed} of {len(decided)}"
        raise AnswerError(Diagnostic("U921", message, place, help=f"compress less, repair more, or {mend}"))
