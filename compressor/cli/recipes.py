"""`compressor recipes`: the recipes that come with compressor."""

from __future__ import annotations

import json
from pathlib import Path

import click

from compressor.cli.completion import complete_shipped
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.errors import Diagnostic, InputError, did_you_mean
from compressor.recipe.load import load_recipe
from compressor.recipe.shipped import shipped, shipped_recipes
from compressor.recipe.write import write_recipe
from compressor.report.tables import Table

RECIPES_SCHEMA = "compressor/recipes/1"


@click.command(short_help="List the recipes that come with compressor, or copy one out.")
@console_options
@click.argument("name", required=False, shell_complete=complete_shipped)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Copy the recipe NAME to this file.")
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
@click.option("--json", "as_json", is_flag=True, help="List them as one JSON document.")
def recipes(*, name: str | None, output: Path | None, force: bool, as_json: bool, console: Console) -> None:
    """List the recipes that come with compressor, each with its purpose; print one, or copy it to a file to be edited.
    Every command that takes a recipe takes these names, too, where no file of that name is there.

    \b
    Example:
      compressor recipes
      compressor recipes accurate50 --output mine.yaml
    """  # noqa: D205  # click shows the first sentence whole
    if name is None and output is not None:
        raise click.UsageError("--output copies one recipe: name it, as in compressor recipes demo --output demo.yaml")
    if force and output is None:
        raise click.UsageError("--force replaces a file: name it with --output")
    if name is not None and as_json:
        raise click.UsageError("--json lists all recipes: leave the name out")
    if name is None:
        _list(console, as_json=as_json)
        return
    text = _find(name).read_text(encoding="utf-8")
    if output is None:
        console.document(text.rstrip("\n"))
        return
    unwind()
    write_recipe(text, output, console, force=force)
    console.result(f"{output}: a copy of {name}")


def _list(console: Console, *, as_json: bool) -> None:
    known = [(each.stem, load_recipe(each).recipe.description or "") for each in shipped_recipes()]
    if as_json:
        listed = [{"name": stem, "purpose": purpose} for stem, purpose in known]
        console.document(json.dumps({"schema": RECIPES_SCHEMA, "recipes": listed}, indent=2, ensure_ascii=False))
        return
    console.result(Table(("recipe", "purpose"), tuple(known), text_columns=2).text())


def _find(name: str) -> Path:
    """The shipped recipe of that name.

    Raises:
        InputError: U960 there is none.
    """
    file = shipped(name)
    if file is None:
        near = did_you_mean(name, [each.stem for each in shipped_recipes()])
        help_text = f"{near}; " if near else ""
        message = "no recipe of this name comes with compressor"
        raise InputError(Diagnostic("U960", message, name, help=f"{help_text}`compressor recipes` lists them"))
    return file
