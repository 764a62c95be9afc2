"""`compressor sweep`: a grid of runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from compressor.cli.comparing import print_lines, sort_option
from compressor.cli.completion import complete_file, complete_recipe, complete_set
from compressor.cli.console import Console, console_options
from compressor.cli.gates import end_where_failed, print_verdicts
from compressor.cli.interrupts import told_as, unwind
from compressor.cli.recipe_options import ACCEPT_OTHER_NAMES, other_names_option
from compressor.cli.streams import utf8
from compressor.progress import warn_of
from compressor.recipe.overrides import parse_set


@click.command(short_help="Run a recipe over a grid of values, then compare the runs.")
@console_options
@click.argument("recipe", type=click.Path(path_type=Path), shell_complete=complete_recipe)
@click.option(
    "--over",
    "axes",
    multiple=True,
    required=True,
    metavar="PATH=A,B,C",
    shell_complete=complete_set,
    help="A key and its values, or weights= or data=; may be repeated.",
)
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", shell_complete=complete_set, help="Override a key.")
@click.option(
    "--output", type=click.Path(path_type=Path), shell_complete=complete_file, help="Folder; reports/RECIPE_sweep else."
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
@other_names_option
@sort_option
@click.option("--force", is_flag=True, help="Replace runs that were made of another recipe or other input.")
def sweep(
    *,
    recipe: Path,
    axes: tuple[str, ...],
    sets: tuple[str, ...],
    output: Path | None,
    device: str,
    other_names: bool,
    sort: str,
    force: bool,
    console: Console,
) -> None:
    """Run a recipe with every combination of some values, and compare the runs: a table, comparison.md and a Pareto
    plot. The model before is judged once per model and data set. Runs that are done are left alone, so after an
    interruption the same command goes on. A run that fails does not stop the others; the exit code is then 2 or 3, and
    1 where a gate failed.

    \b
    Example:
      compressor sweep recipes/accurate50.yaml --over modifiers.0.sparsity=0.3,0.5,0.7 --over weights=a.pt,b.pt
    """  # noqa: D205  # click shows the first sentence whole
    from compressor.report.compare import overview
    from compressor.run.stages import SHARED  # moves no figure
    from compressor.tasks.sweep import parse_axis, points
    from compressor.tasks.sweep import sweep as run_all

    unwind()
    overrides = [*map(parse_set, sets), *([ACCEPT_OTHER_NAMES] if other_names else [])]
    grid = points(recipe, [parse_axis(axis) for axis in axes], overrides)
    folder = output or Path("reports") / f"{recipe.stem}_sweep"
    command = shlex.join(["compressor", *map(utf8, sys.argv[1:])])
    with told_as(lambda: f"finished runs are kept in {folder}, and the same command goes on"):
        outcomes = run_all(grid, folder, device, command, sort, console, force=force)
    console.written = folder
    lines = overview([(each.name, each.record) for each in outcomes if each.record], sort)
    if lines:
        print_lines(lines, console)
        console.result(f"{folder / 'comparison.md'}: the page")
    warnings = [each for outcome in outcomes if outcome.record for each in outcome.record.warnings if each != SHARED]
    warn_of(console, list(dict.fromkeys(warnings)), "see the reports")
    for each in outcomes:
        if each.fault:
            console.warn(f"{each.name} failed:")
            console.error(each.fault)
        print_verdicts(each.failed_gates, each.name, console)
    if any(each.fault for each in outcomes):
        sys.exit(max(each.fault.exit_code for each in outcomes if each.fault))
    gates = [verdict for each in outcomes if each.record for verdict in each.record.gates]
    end_where_failed(gates, str(folder), "change the recipe's report.fail_if; the runs are kept")
