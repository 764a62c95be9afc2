"""`compressor schema`: the recipe language for editors."""

from __future__ import annotations

import json

import click

from compressor.cli.console import Console, console_options
from compressor.recipe.json_schema import recipe_schema


@click.command(short_help="Print the JSON Schema of recipes, for editors.")
@console_options
def schema(*, console: Console) -> None:
    """Print the JSON Schema of recipes, with which editors complete keys and mark slips while you type.

    \b
    Example:
      compressor schema > recipe.schema.json

    \b
    First line of a recipe, for editors with yaml-language-server:
      # yaml-language-server: $schema=recipe.schema.json
    """
    console.result(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
