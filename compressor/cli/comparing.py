"""Many runs on the terminal: what `compare` and `sweep` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from compressor.cli.console import Console
from compressor.recipe.gates import METRICS

if TYPE_CHECKING:
    from compressor.report.compare import Line

_KNOWN = "a metric such as AP or AP50, or size, sparsity, latency or name"


def sort_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--sort, checked."""
    choices = (*METRICS, "size", "sparsity", "latency", "name")

    def known(_context: click.Context, _option: click.Parameter, value: str) -> str:
        if value not in choices:
            raise click.BadParameter(f"{value!r} is not known; sort by {_KNOWN}")
        return value

    option = click.option("--sort", default="AP", show_default=True, callback=known, help=f"By {_KNOWN}.")
    return option(command)


def print_lines(lines: Sequence[Line], console: Console) -> None:
    """The table, what its stars mean, and why its lines may not be compared."""
    from compressor.report.compare import STAR, overview_table, warnings_of

    console.result(overview_table(lines).text())
    console.result(f"\n{STAR}")
    for warning in warnings_of(lines):
        console.result(warning)
