"""Options of every command that takes a recipe, and the recipe they make; and those that say how it is run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from compressor.cli.completion import complete_file, complete_recipe, complete_set
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.overrides import Override, parse_set

other_names_option = click.option(
    "--other-names",
    is_flag=True,
    help="Accept a data set that names classes otherwise than the model; another order is never accepted.",
)
ACCEPT_OTHER_NAMES = Override(("evaluation", "other_names"), "true", "--other-names")


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """RECIPE, --weights, --data, --set and --other-names; the command receives the checked `recipe_file` they make."""

    @click.argument("recipe", type=click.Path(path_type=Path), shell_complete=complete_recipe)
    @click.option(
        "--weights", metavar="FILE", shell_complete=complete_file, help="Checkpoint, instead of the recipe's."
    )
    @click.option(
        "--data", metavar="YAML", shell_complete=complete_file, help="Data set to judge on, instead of the recipe's."
    )
    @click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="PATH=VALUE",
        shell_complete=complete_set,
        help="Override a key: modifiers.0.sparsity=0.5.",
    )
    @other_names_option
    @functools.wraps(command)
    def run(
        *,
        recipe: Path,
        weights: str | None,
        data: str | None,
        sets: tuple[str, ...],
        other_names: bool,
        **options: Any,
    ) -> None:
        overrides = [parse_set(argument) for argument in sets]
        if weights is not None:
            overrides.append(Override(("model", "weights"), weights, "--weights", literal=True))
        if data is not None:
            overrides.append(Override(("data",), data, "--data", literal=True))
        if other_names:
            overrides.append(ACCEPT_OTHER_NAMES)
        command(recipe_file=load_recipe(recipe, tuple(overrides)), **options)

    return run


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say where and how a recipe is run; the command receives the `options` that they make."""

    @click.option("--output", type=click.Path(path_type=Path), help="Run folder; reports/RECIPE when not given.")
    @click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto.")
    @click.option("--no-evaluate", is_flag=True, help="Compress and save only; data is needed for repairs alone.")
    @click.option(
        "--template",
        type=click.Path(path_type=Path),
        shell_complete=complete_file,
        help="Jinja2 template of the report, instead of the recipe's.",
    )
    @click.option("--force", is_flag=True, help="Replace an existing run folder.")
    @functools.wraps(command)
    def run(
        *,
        recipe_file: RecipeFile,
        output: Path | None,
        device: str,
        no_evaluate: bool,
        template: Path | None,
        force: bool,
        **others: Any,
    ) -> None:
        from compressor.run.readiness import Options

        folder = output or Path("reports") / recipe_file.name
        options = Options(folder, device, evaluate=not no_evaluate, force=force, template=template)
        command(recipe_file=recipe_file, options=options, **others)

    return run
