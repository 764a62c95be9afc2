"""`compressor plan`: what a recipe would do."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.cli.recipe_options import recipe_options
from compressor.recipe.load import RecipeFile
from compressor.report.tables import plan_table


@click.command(short_help="Show what a recipe would change, layer by layer; nothing is changed.")
@console_options
@recipe_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def plan(*, recipe_file: RecipeFile, as_json: bool, console: Console) -> None:
    """Show every layer each step of a recipe would touch; nothing is changed and no data is read.

    \b
    Example:
      compressor plan recipes/yolov5_global30.yaml --weights best.pt
    """
    from compressor import pipeline

    unwind()
    source, changes = pipeline.plan(recipe_file, console)
    if as_json:
        steps = [asdict(change) for change in changes]
        console.result(json.dumps({"schema": "compressor/plan/1", "steps": steps}, indent=2))
        return
    console.result(f"{source.model.architecture.name}, {source.model.architecture.nc} classes")
    for number, change in enumerate(changes, start=1):
        console.heading(f"\n{number}. {change.summary}")
        console.result(plan_table(change).text())
