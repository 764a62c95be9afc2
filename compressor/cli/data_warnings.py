"""What a reader of figures should know of their data, on the terminal."""

from __future__ import annotations

from compressor.cli.console import Console
from compressor.results.evaluation import DataSummary

_FEW = 5


def print_data_warnings(data: DataSummary, console: Console) -> None:
    """Every reason why objects are in no figure; the first few other warnings, and all of them with --verbose."""
    if not data.not_evaluated and not data.skipped:
        return
    console.heading("\nAbout the data")
    for counted in data.not_evaluated:
        console.result(f"  {counted}")
    shown = data.skipped if console.verbose else data.skipped[:_FEW]
    for sentence in shown:
        console.result(f"  {sentence}")
    if len(shown) < len(data.skipped):
        console.result(f"  and {len(data.skipped) - len(shown)} more warnings: see them with --verbose")
