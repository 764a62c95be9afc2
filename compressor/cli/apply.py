"""`compressor apply`: run a recipe."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.cli.console import Console, console_options
from compressor.cli.data_warnings import print_data_warnings
from compressor.cli.gates import end_where_failed, print_verdicts
from compressor.cli.interrupts import LEFT, told_as, unwind
from compressor.cli.recipe_options import recipe_options, run_options
from compressor.cli.streams import utf8
from compressor.errors import CompressorError
from compressor.files.store import titles
from compressor.progress import warn_of
from compressor.recipe.load import RecipeFile
from compressor.report.intervals import interval_sentence
from compressor.report.metric_tables import coco_table, detection_table, exports_table
from compressor.report.tables import size_table, sparsity_table, steps_table
from compressor.results.run import RunRecord
from compressor.run.folder import RECORD, REPORT, steps_folder

if TYPE_CHECKING:  # they import torch
    from compressor.run.readiness import Options


@click.command(short_help="Run a recipe: judge, compress, judge again, save, report.")
@console_options
@recipe_options
@run_options
@click.option("--resume", is_flag=True, help="Go on with what an interrupted run of this recipe has kept.")
def apply(
    *,
    recipe_file: RecipeFile,
    options: Options,
    resume: bool,
    console: Console,
) -> None:
    """Run a recipe: judge the model, compress it, judge it again, save it and write a report. Exits 1 where a gate of
    the recipe's `report.fail_if` fails; everything is written then too. What an interrupted run has done is kept beside
    its folder, and --resume goes on with it.

    \b
    Example:
      compressor apply recipes/yolov5s_global30.yaml --data coco128.yaml
    """  # noqa: D205  # click shows the first sentence whole
    from compressor.run.pipeline import run

    unwind()
    folder = options.output
    command = shlex.join(["compressor", *(utf8(word) for word in sys.argv[1:] if word != "--resume")])
    options = replace(options, resume=resume, command=command)
    begun = time.time()
    with told_as(lambda: _left(folder, command, begun)):
        try:
            record = run(recipe_file, options, console)
        except CompressorError as error:
            refused = any(diagnostic.code == "O604" for diagnostic in error.diagnostics)  # the steps are another's
            if not refused and titles(steps_folder(folder), since=begun):
                console.warn(_kept(folder, command))
            raise
    console.written = folder
    _print(record, folder, console)
    print_verdicts(record.gates, "", console)
    console.section("\nWhere the time went")
    console.aside(steps_table(record.steps).text())
    end_where_failed(record.gates, str(folder), "change the recipe's report.fail_if; the run is kept")


def _left(folder: Path, command: str, begun: float) -> str:
    """What an interrupted run leaves."""
    record = folder / RECORD
    if record.is_file() and record.stat().st_mtime >= begun:
        return f"the run was done: {folder}"
    return _kept(folder, command) if titles(steps_folder(folder)) else LEFT


def _kept(folder: Path, command: str) -> str:
    done = ", ".join(titles(steps_folder(folder)))
    return f"kept are: {done}. To go on: {command} --resume"


def _not_of_the_data(record: RunRecord, console: Console) -> list[str]:
    """Warnings but for those that are shown with the figures, or were on the way."""
    data = record.compressed.data if record.compressed else None
    shown = (*map(str, data.not_evaluated), *data.skipped) if data else ()
    return [warning for warning in record.warnings if warning not in shown and warning not in console.warned]


def _print(record: RunRecord, folder: Path, console: Console) -> None:
    before, after = record.baseline, record.compressed
    if after is not None:
        console.heading("\nCOCO metrics")
        console.result(coco_table(before, after).text())
        if told := interval_sentence(before, after):
            console.result(told)
        console.heading("\nYOLOv5's own metric")
        console.result(detection_table(before, after).text())
        print_data_warnings(after.data, console)
    console.heading("\nSparsity and size")
    console.result(sparsity_table(record.sparsity).text())
    console.result("\n" + size_table(record.sizes, record.recipe["artifact"]["dtype"]).text())
    if record.exports:
        console.heading("\nOther formats")
        console.result(exports_table(record.exports, after).text())
    if record.warnings:
        console.result(f"\n{len(record.warnings)} warnings: see the report")
        warn_of(console, _not_of_the_data(record, console), f"see {folder / REPORT}")
    console.heading("\nWritten")
    for name in (REPORT, RECORD, *(file.path for file in record.files)):
        console.result(f"  {(folder / name).as_posix()}")
