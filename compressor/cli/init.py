"""`compressor init`: a recipe to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compressor.cli.completion import complete_file
from compressor.cli.console import Console, console_options
from compressor.cli.interrupts import unwind
from compressor.recipe.sizes import parse_size
from compressor.recipe.write import check_recipe_place, write_recipe
from compressor.results.units import megabytes

_NAME = "recipe.yaml"  # what the comments call a recipe that goes to stdout


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, Any] | None:
    """`2.5MB` and `60%` in the words of `Goal`: bytes, or a share of the dense file."""
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as fault:
        raise click.BadParameter(str(fault)) from None


@click.command(short_help="Write a recipe for a checkpoint and a goal.")
@console_options
@click.argument("weights", shell_complete=complete_file)
@click.option("--sparsity", type=float, metavar="FRACTION", help="Weights to set to zero; the default goal, with 0.3.")
@click.option("--size", callback=_size, metavar="SIZE", help="Largest file: 2.5MB, 2500kB, or 60% of the dense file.")
@click.option("--pattern", metavar="N:M", help="Keep N of every M weights, as in 2:4.")
@click.option("--data", metavar="YAML", shell_complete=complete_file, help="Data set to judge on.")
@click.option(
    "--allocation",
    metavar="NAME",
    help="How the sparsity is shared out: uniform, global, lamp or erk; lamp when not given.",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write here instead of to stdout.")
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
def init(
    *,
    weights: str,
    sparsity: float | None,
    size: tuple[str, Any] | None,
    pattern: str | None,
    data: str | None,
    allocation: str | None,
    output: Path | None,
    force: bool,
    console: Console,
) -> None:
    """Write a recipe for a checkpoint: what the checkpoint is, every key with a comment, and the sparsity that a goal
    asks for. With --size that is the lowest whose file is small enough.

    \b
    Example:
      compressor init best.pt --size 2.5MB --data my_data.yaml --output my_recipe.yaml
    """  # noqa: D205  # click shows the first sentence whole
    _check_goals({"--sparsity": sparsity, "--size": size, "--pattern": pattern, "--allocation": allocation})
    if output is None and force:
        raise click.UsageError("--force replaces a file: name it with --output")
    if output is not None:
        check_recipe_place(output, force=force)
    from compressor.tasks.init import Goal, start

    unwind()
    goal = Goal(sparsity, pattern=pattern, allocation=allocation, **dict([size] if size else []))
    starter = start(weights, data, goal, str(output or _NAME), console)
    if output is None:
        console.result(starter.text.rstrip("\n"))
        return
    write_recipe(starter.text, output, console, force=force)
    ratio = starter.size_bytes / starter.dense_bytes
    console.result(f"{output}: {starter.recipe.description}")
    console.result(f"The file will have {megabytes(starter.size_bytes)} MB, {ratio:.3f} times its dense size.")


def _check_goals(options: dict[str, object]) -> None:
    """Refuse options that contradict one another."""
    given = [flag for flag, value in options.items() if value is not None]
    goals = [flag for flag in given if flag != "--allocation"]
    if len(goals) > 1:
        raise click.UsageError(f"one goal at a time: {' and '.join(goals)} contradict one another")
    if "--pattern" in given and "--allocation" in given:
        raise click.UsageError("--allocation shares out a sparsity; --pattern says by itself how many weights go")
    if options["--pattern"] == "unstructured":
        raise click.UsageError("--pattern names N and M, as in 2:4; for weights of any place give --sparsity")
