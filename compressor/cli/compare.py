"""`compressor compare`: many runs in one table."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.cli.comparing import print_lines, sort_option
from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.errors import Diagnostic, InputError
from compressor.files.writing import check_place, staged
from compressor.files.written import put
from compressor.results.run import RunRecord, load_run

if TYPE_CHECKING:
    from compressor.report.compare import Line

COMPARISON_SCHEMA = "compressor/comparison/1"


@click.command(short_help="Many runs in one table, sorted by a metric, and a Pareto plot.")
@console_options
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, shell_complete=complete_file)
@sort_option
@click.option("--plot", type=click.Path(path_type=Path), help="PNG file for AP against size, sparsity and latency.")
@click.option("--md", "form", flag_value="md", help="A page of Markdown.")
@click.option("--html", "form", flag_value="html", help="One page of HTML, with the plot in it.")
@click.option("--json", "form", flag_value="json", help="One JSON document in full precision.")
@click.option("--force", is_flag=True, help="Replace an existing plot.")
def compare(
    *, runs: tuple[Path, ...], sort: str, plot: Path | None, form: str | None, force: bool, console: Console
) -> None:
    """Put runs side by side: AP before and after, sparsity, file size and latency, the best first. A star marks the
    runs that no other beats in AP against that cost. Runs that were not measured alike are parted into groups, each
    with stars of its own. What is no run among the places is named and left out.

    \b
    Example:
      compressor compare reports/* --sort AP50 --plot pareto.png
    """  # noqa: D205  # click shows the first sentence whole
    from compressor.report.compare import COSTS, is_plot, letter, overview, pareto_png, warnings_of

    if plot is not None:
        check_place(plot, "plot", "file", is_plot, force=force, option="--plot")
    lines = overview(named_runs(runs, console), sort)
    drawn = pareto_png(lines) if plot is not None or form == "html" else b""
    if form == "json":
        rows = [
            {
                "name": line.name,
                **_figures(line.run),
                "best": dict(zip(COSTS, line.best, strict=True)),
                "measured_as": letter(line) if line.run.compressed else None,
            }
            for line in lines
        ]
        document = {"schema": COMPARISON_SCHEMA, "warnings": warnings_of(lines), "runs": rows}
        console.document(json.dumps(document, indent=2, allow_nan=False))
    elif form is not None:
        console.result(_page(lines, form, plot, drawn))
    else:
        print_lines(lines, console)
    if plot is not None:
        unwind()
        with staged(plot, "--plot") as aside:
            (aside / plot.name).write_bytes(drawn)
            put(aside / plot.name, plot, console)
        console.note(f"{plot}: the plot")


def named_runs(places: Sequence[Path], console: Console) -> list[tuple[str, RunRecord]]:
    """The runs among some places, by names that tell them apart; what is none is told.

    Raises:
        InputError: U901 there is none among them.
    """
    found = []
    for place in places:
        try:
            found.append((place, load_run(place)))
        except InputError as fault:
            console.warn(f"left out: {fault.diagnostics[0]}".splitlines()[0])
    if not found:
        help_text = "name folders that `compressor apply` wrote"
        raise InputError(Diagnostic("U901", "no run is among these places", help=help_text))
    counts = Counter(run.name for _, run in found)
    return [(run.name if counts[run.name] == 1 else place.as_posix(), run) for place, run in found]


def _figures(run: RunRecord) -> dict[str, object]:
    from compressor.report.diff import figures

    return {
        "model": run.model.name,
        "sparsity": run.sparsity.conv_weights,
        "before": figures(run.baseline) or None,
        "after": figures(run.compressed) or None,
        "size_bytes": run.sizes.artifact.size_bytes,
        "inference_ms": run.compressed.speed.inference_ms if run.compressed else None,
    }


def _page(lines: Sequence[Line], form: str, plot: Path | None, drawn: bytes) -> str:
    from compressor.report.compare import PLOT, overview_markdown
    from compressor.report.html import page

    title = f"{len(lines)} runs"
    if form == "md":
        return overview_markdown(lines, title, plot.name if plot else None).rstrip()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / PLOT).write_bytes(drawn)
        return page(overview_markdown(lines, title, PLOT), title, Path(folder)).rstrip()
