"""What a reader of figures should know of their data, on the terminal."""

from __future__ import annotations

from compressor.cli.console import Console
from compressor.results.evaluation import DataSummary

_FEW = 5


def print_data_warnings(data: DataSummary, console: Console) -> None:
    """Every reason why objects are in no figure; the first few other warnings, and all of them with --verbose.

    What the console has warned of before the work is not said again.
    """
    others = [sentence for sentence in data.skipped if sentence not in console.warned]
    if not data.not_evaluated and not others:
        return
    console.heading("\nAbout the data")
    for counted in data.not_evaluated:
        console.result(f"  {counted}")
    shown = others if console.verbose else others[:_FEW]
    for sentence in shown:
        console.result(f"  {sentence}")
    if len(shown) < len(others):
        console.result(f"  and {len(others) - len(shown)} more warnings: see them with --verbose")
