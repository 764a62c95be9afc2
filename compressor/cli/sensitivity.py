"""`compressor sensitivity`: what pruning each layer alone costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import told_as, unwind
from compressor.cli.recipe_options import other_names_option
from compressor.report.sensitivity_plot import measured
from compressor.report.tables import Table
from compressor.results.sensitivity import SensitivityTable, table_text
from compressor.results.units import fraction
from compressor.tasks.sensitivity_files import SensitivityFiles

if TYPE_CHECKING:
    from compressor.tasks.sensitivity import By, Fuse, Score, SplitName

_ENDING = ".sensitivity.json"
_SPARSITY = 0.5  # of a recipe, unless told otherwise
# by what is measured: images, their size, split
_USUAL: dict[str, tuple[int, int, SplitName]] = {"output": (16, 320, "train"), "ap": (100, 640, "val")}


def _grid(_context: click.Context, _option: click.Parameter, text: str) -> tuple[float, ...]:
    """`0.3,0.5` as numbers."""
    words = [word.strip() for word in text.split(",")]
    try:
        sparsities = tuple(float(word) for word in words)
    except ValueError as fault:
        raise click.BadParameter(f"{text!r} is not a list of numbers; write 0.3,0.5,0.7,0.9") from fault
    for word, sparsity in zip(words, sparsities, strict=True):
        if not 0 < sparsity < 1:
            raise click.BadParameter(f"{word} is not above 0 and below 1; to zero half the weights write 0.5")
    if len(set(sparsities)) < len(sparsities):
        raise click.BadParameter(f"{text!r} names a sparsity twice")
    if list(sparsities) != sorted(sparsities):
        raise click.BadParameter(f"{text!r} is not in ascending order")
    return sparsities


def _utf8(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """A name that a table can hold."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # how Python reads a name that is not UTF-8
        raise click.BadParameter("the name is not UTF-8 text, and a table is; rename the file")
    return text


@click.command(short_help="Measure what pruning each layer alone costs.")
@console_options
@click.argument("weights", shell_complete=complete_file, callback=_utf8)
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    shell_complete=complete_file,
    callback=_utf8,
    help="Folder of images, or a data set; with --by ap a data set.",
)
@click.option(
    "--by",
    type=click.Choice(["output", "ap"]),
    default="output",
    show_default=True,
    help="Measure the change of the outputs, which is fast and needs no labels, or the AP lost.",
)
@click.option(
    "--images", type=click.IntRange(1, 100_000), metavar="N", help="How many images: 16, or with --by ap the first 100."
)
@click.option(
    "--image-size",
    type=click.IntRange(32, 8192),
    metavar="PIXELS",
    help="Size of the images: 320, or with --by ap 640.",
)
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), help="Of the data set: train, or with --by ap val."
)
@click.option(
    "--sparsities",
    default="0.2,0.4,0.6,0.75,0.85,0.93",
    show_default=True,
    callback=_grid,
    help="At which to prune, ascending.",
)
@click.option(
    "--score",
    type=click.Choice(["magnitude", "raw_magnitude", "folded_magnitude"]),
    default="magnitude",
    show_default=True,
    help="What makes a weight important, as in a recipe.",
)
@click.option(
    "--fuse",
    type=click.Choice(["before", "after", "never"]),
    default="before",
    show_default=True,
    help="Fold BatchNorm before pruning or not, as in a recipe.",
)
@click.option(
    "--repaired/--no-repaired",
    default=None,
    help="Solve a layer's other weights again before measuring, as a repair does; by outputs so unless told otherwise.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Write the table here, and the plot beside it, instead of to WEIGHTS{_ENDING}.",
)
@click.option("--emit", type=click.Path(path_type=Path), metavar="RECIPE", help="Write a recipe that uses the table.")
@click.option("--sparsity", type=float, metavar="FRACTION", help=f"Of the recipe; {_SPARSITY} when not given.")
@click.option("--force", is_flag=True, help="Replace an existing table, plot and recipe.")
@other_names_option
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as one JSON document.")
def sensitivity(
    *,
    weights: str,
    data: str,
    by: By,
    images: int | None,
    image_size: int | None,
    split: SplitName | None,
    sparsities: tuple[float, ...],
    score: Score,
    fuse: Fuse,
    repaired: bool | None,
    output: Path | None,
    emit: Path | None,
    sparsity: float | None,
    force: bool,
    other_names: bool,
    device: str,
    as_json: bool,
    console: Console,
) -> None:
    """Prune every convolution alone at several sparsities, and measure what each costs: a table, a plot, and with
    --emit a recipe that takes most where it costs least. Interrupted, the same command goes on where it was.

    \b
    Example:
      compressor sensitivity best.pt --data my_images --emit my_recipe.yaml --sparsity 0.5
    """  # noqa: D205  # click shows the first sentence whole
    _check_options(data, by, split, sparsity, emit, repaired=repaired)
    if other_names and by != "ap":
        raise click.UsageError("--other-names is of data with labels, which are only read with --by ap")
    files = SensitivityFiles(output or Path(f"{Path(weights).stem}{_ENDING}"), emit, force)
    files.check()
    from compressor.tasks.sensitivity import Question, WantedRecipe, measure_into

    unwind()
    usual_images, usual_size, usual_split = _USUAL[by]
    question = Question(
        weights=weights,
        data=data,
        by=by,
        images=images or usual_images,
        image_size=image_size or usual_size,
        split=split or usual_split,
        sparsities=sparsities,
        score=score,
        fuse=fuse,
        repaired=by == "output" if repaired is None else repaired,
        other_names=other_names,
    )
    wanted = WantedRecipe(_SPARSITY if sparsity is None else sparsity, repairs=repaired is not False)
    begun = time.time()
    with told_as(lambda: _left(files, begun)):
        table, recipe = measure_into(question, files, wanted, device, console)
    console.written = files.table
    if as_json:
        console.document(table_text(table).rstrip())
        return
    console.heading(measured(table))
    console.result(_losses(table).text())
    console.result(f"\n{files.table}: the table; {files.plot.name} beside it shows it")
    if recipe is not None:
        console.result(f"{emit}: {recipe.description}")


def _left(files: SensitivityFiles, begun: float) -> str:
    """What an interrupted measurement leaves."""
    if files.notebook.exists():
        return f"the same command goes on: {files.notebook} holds what was measured"
    if files.table.is_file() and files.table.stat().st_mtime >= begun:
        return f"the measurement was done: {files.table}"
    return "nothing was written"


def _check_options(
    data: str, by: By, split: SplitName | None, sparsity: float | None, emit: Path | None, *, repaired: bool | None
) -> None:
    """Refuse options that mean nothing together."""
    if sparsity is not None and emit is None:
        raise click.UsageError("--sparsity is the recipe's: name the recipe with --emit; the grid is --sparsities")
    if by == "ap" and Path(data).is_dir():
        raise click.UsageError("--by ap needs labels: --data names a folder of images, and must name a data set")
    if split is not None and Path(data).is_dir():
        raise click.UsageError("--split is of a data set, and --data names a folder of images")
    if repaired and by == "ap":
        raise click.UsageError("--repaired would solve by the images that are judged on: measure --by output")


def _losses(table: SensitivityTable) -> Table:
    """A row per layer, a column per sparsity."""
    rows = tuple(
        (layer.name, layer.role, f"{layer.weights:,}", *(_loss(table.by, loss) for _, loss in layer.points))
        for layer in table.layers
    )
    shares = tuple(f"{100 * sparsity:g} %" for sparsity, _ in table.layers[0].points)
    return Table(("layer", "role", "weights", *shares), rows, text_columns=2)


def _loss(by: str, loss: float) -> str:
    """AP as everywhere; a change of the outputs runs over many powers of ten."""
    return fraction(loss) if by == "ap" else f"{loss:.2e}"
