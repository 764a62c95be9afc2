"""Options of every command that takes a recipe, and the recipe they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.overrides import Override, parse_set

Command = TypeVar("Command", bound=Callable[..., Any])


def recipe_options(command: Command) -> Command:
    """RECIPE, --weights, --data and --set."""
    command = click.option(
        "--set", "sets", multiple=True, metavar="PATH=VALUE", help="Override a key: modifiers.0.sparsity=0.5."
    )(command)
    command = click.option("--data", metavar="YAML", help="Data set to judge on, instead of the recipe's.")(command)
    command = click.option("--weights", metavar="FILE", help="Checkpoint, instead of the recipe's.")(command)
    return click.argument("recipe", type=click.Path(path_type=Path))(command)


def resolve(recipe: Path, weights: str | None, data: str | None, sets: tuple[str, ...]) -> RecipeFile:
    """The recipe with the command line's word over the file's.

    Raises:
        RecipeError: any fault of the file or of an override.
    """
    overrides = [parse_set(argument) for argument in sets]
    if weights is not None:
        overrides.append(Override(("model", "weights"), weights, "--weights", literal=True))
    if data is not None:
        overrides.append(Override(("data",), data, "--data", literal=True))
    return load_recipe(recipe, tuple(overrides))
