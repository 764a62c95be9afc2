"""`compressor plan`: what a recipe would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.cli.recipe_options import recipe_options, run_options
from compressor.errors import InputError
from compressor.modifiers.behaviours import rows_of
from compressor.progress import warn_of
from compressor.recipe.load import RecipeFile
from compressor.report.plan_tables import macs_table, plan_table, predicted_size_table, time_table
from compressor.report.tables import sparsity_table
from compressor.results.document import to_json
from compressor.results.plan import PLAN_SCHEMA, Plan

if TYPE_CHECKING:  # they import torch
    from compressor.run.readiness import Options

_STILL_NEEDED = {"O601": "--force or another --output", "R112": "--data"}  # a plan can be made without
_AFTER_A_REPAIR = "the repair before it is not tried here: the total is right, the shares of the layers are a guess"


@click.command(short_help="Show what a recipe would change, layer by layer; nothing is changed.")
@console_options
@recipe_options
@run_options
@click.option("--times/--no-times", default=True, help="Estimate how long the run would take, which takes time too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def plan(*, recipe_file: RecipeFile, options: Options, times: bool, as_json: bool, console: Console) -> None:
    """Show every layer each step of a recipe would touch, the sparsity, MACs and file sizes it would give, and about
    how long the run would take. Nothing is changed. Whatever `apply` would refuse is told, by exit code 2 as well: give
    the options that it will be given.

    \b
    Example:
      compressor plan recipes/yolov5_global30.yaml --weights best.pt --data mine.yaml
    """  # noqa: D205  # click shows the first sentence whole
    from compressor.run import pipeline

    unwind()
    planned = pipeline.plan(recipe_file, options, console, timed=times)
    if as_json:
        console.document(
            to_json(planned, schema=PLAN_SCHEMA, recipe=recipe_file.recipe.model_dump(mode="json")).rstrip()
        )
    else:
        _print(planned, console)
        names = [export.file_name for export in recipe_file.recipe.exports]
        if names:
            console.heading("\nOther formats")
            console.result(", ".join(names))
    warn_of(console, planned.warnings, "`compressor evaluate` tells them all")
    _end_where_refused(planned, console)


def _end_where_refused(planned: Plan, console: Console) -> None:
    """Print what `apply` would refuse, and end with its exit code; options that it only still needs are notes."""
    for each in planned.refused:
        if each.code in _STILL_NEEDED:
            place = f": {each.path}" if each.code == "O601" else ""
            console.warn(f"apply will need {_STILL_NEEDED[each.code]}: {each.message}{place}")
    others = [each for each in dict.fromkeys(planned.refused) if each.code not in _STILL_NEEDED]
    if others:
        console.warn("apply would refuse this:")
        raise InputError(*others)


def _print(planned: Plan, console: Console) -> None:
    model = planned.model
    console.result(f"{model.name}, generation {model.generation}, {model.nc} classes, {model.parameters:,} parameters")
    for number, change in enumerate(planned.steps, start=1):
        console.heading(f"\n{number}. {change.summary}")
        rows = rows_of(change)
        if rows.cells:
            if any("values" in earlier.altered for earlier in planned.steps[: number - 1]):
                console.result(_AFTER_A_REPAIR)
            console.result(plan_table(planned, rows).text())
    tables = (
        ("Sparsity", sparsity_table(planned.sparsity)),
        ("Arithmetic", macs_table(planned)),
        ("File", predicted_size_table(planned)),
        *((("Time", time_table(planned.times)),) if planned.times else ()),
    )
    for title, table in tables:
        console.heading(f"\n{title}")
        console.result(table.text())
