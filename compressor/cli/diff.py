"""`compressor diff`: what differs between two runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from compressor.cli.console import Console, console_options
from compressor.report.compare import compare_runs, comparison_tables
from compressor.results.run import load_run


@click.command(short_help="Compare two runs: recipe, metrics, layers, sizes.")
@console_options
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--md", "as_markdown", is_flag=True, help="Markdown tables.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document in full precision.")
def diff(*, a: Path, b: Path, as_markdown: bool, as_json: bool, console: Console) -> None:
    """Compare two runs: recipe, metrics, layers and sizes. Prints nothing when they are equal.

    A and B are run folders or run.json files.

    \b
    Example:
      compressor diff reports/yolov5n_uniform30 reports/yolov5n_global30
    """
    run_a, run_b = load_run(a), load_run(b)
    comparison = compare_runs(run_a, run_b)
    names = (run_a.name, run_b.name) if run_a.name != run_b.name else (a.as_posix(), b.as_posix())
    if as_json:
        document = {"schema": "compressor/diff/1", "a": names[0], "b": names[1], "equal": comparison.equal}
        console.result(json.dumps({**document, **asdict(comparison)}, indent=2))
        return
    for number, (title, table) in enumerate(comparison_tables(comparison, *names)):
        console.heading(("\n" if number else "") + (f"## {title}\n" if as_markdown else title))
        console.result(table.markdown() if as_markdown else table.text())
