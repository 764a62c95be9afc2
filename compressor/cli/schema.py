"""`compressor schema`: the recipe language, or run.json, as JSON Schema."""

from __future__ import annotations

import json

import click
from pydantic import TypeAdapter

from compressor.cli.console import Console, console_options
from compressor.recipe.json_schema import recipe_schema
from compressor.results.run import RunRecord


@click.command(short_help="Print the JSON Schema of recipes, for editors, or of run.json.")
@console_options
@click.option(
    "--of",
    "document",
    type=click.Choice(["recipe", "run"]),
    default="recipe",
    show_default=True,
    help="Which document.",
)
def schema(*, document: str, console: Console) -> None:
    """Print the JSON Schema of recipes, with which editors complete keys and mark slips while you type; or of run.json.

    \b
    Example:
      compressor schema > recipe.schema.json

    \b
    First line of a recipe, for editors with yaml-language-server:
      # yaml-language-server: $schema=recipe.schema.json
    """
    found = recipe_schema() if document == "recipe" else TypeAdapter(RunRecord).json_schema(mode="serialization")
    console.document(json.dumps(found, indent=2, ensure_ascii=False))
