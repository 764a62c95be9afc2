"""`compressor check`: whether recipes are right, without weights and without torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from compressor.cli.completion import complete_file, complete_recipe, complete_set
from compressor.cli.console import Console, console_options
from compressor.errors import Diagnostic, RecipeError
from compressor.printable import printable
from compressor.recipe.overrides import Override, parse_set
from compressor.recipe.write import resolved_text, resolved_values
from compressor.tasks.check import Checked, check_recipe

CHECK_SCHEMA = "compressor/check/1"


@click.command(short_help="Check recipes without weights and data, and show what they resolve to.")
@console_options
@click.argument(
    "recipes",
    metavar="RECIPE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    shell_complete=complete_recipe,
)
@click.option(
    "--weights", metavar="FILE", shell_complete=complete_file, help="Checkpoint, instead of the recipes'; not read."
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=complete_set,
    help="Override a key in every recipe: modifiers.0.sparsity=0.5.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="Faults for people, as one JSON document, or as annotations of a GitHub workflow.",
)
@click.option("--resolved", is_flag=True, help="Print each recipe as one file, with every key and nothing to fill in.")
def check(
    *,
    recipes: tuple[Path, ...],
    weights: str | None,
    sets: tuple[str, ...],
    form: str,
    resolved: bool,
    console: Console,
) -> None:
    """Check recipes: every fault at once, exit code 2 when there is one. No weights or data are read.

    Targets are tried on the stock YOLOv5 networks; names of layers are not judged for weights of your own.

    \b
    Example:
      compressor check recipes/*.yaml
      compressor check recipes/yolov5n_global30.yaml --set modifiers.0.sparsity=0.5 --resolved
    """
    if resolved and form == "github":
        raise click.UsageError("--resolved prints recipes, which --format github has no place for")
    overrides = tuple(map(parse_set, sets))
    if weights is not None:
        overrides += (Override(("model", "weights"), weights, "--weights", literal=True),)
    found = [check_recipe(path, overrides) for path in recipes]
    match form:
        case "json":
            console.document(_json(found, resolved=resolved))
        case "github":
            flags = frozenset(override.flag for override in overrides)
            for line in _workflow_commands(found, flags):
                console.result(line)
        case _:
            _print(found, console, resolved=resolved)
    if any(checked.faults for checked in found):
        sys.exit(RecipeError.exit_code)


def _print(found: Sequence[Checked], console: Console, *, resolved: bool) -> None:
    parted = False
    for checked in found:
        if checked.recipe is None:
            console.note(f"{printable(checked.path)}: {len(checked.faults)} at fault")
            console.error(RecipeError(*checked.faults))
        elif resolved:
            title = f"# {printable(checked.path)}\n" if len(found) > 1 else ""
            console.result(("---\n" if parted else "") + title + resolved_text(checked.recipe).rstrip("\n"))
            parted = True
        elif not console.quiet:
            console.result(f"{printable(checked.path)}: ok")


def _json(found: Sequence[Checked], *, resolved: bool) -> str:
    entries = []
    for checked in found:
        faults = [asdict(fault) for fault in checked.faults]
        entry: dict[str, Any] = {"path": checked.path, "ok": not checked.faults, "faults": faults}
        if resolved:
            entry["resolved"] = resolved_values(checked.recipe) if checked.recipe else None
        entries.append(entry)
    ok = all(entry["ok"] for entry in entries)
    return json.dumps({"schema": CHECK_SCHEMA, "ok": ok, "recipes": entries}, indent=2)


def _workflow_commands(found: Sequence[Checked], flags: frozenset[str]) -> list[str]:
    return [_workflow_command(checked, fault, flags) for checked in found for fault in checked.faults]


def _workflow_command(checked: Checked, fault: Diagnostic, flags: frozenset[str]) -> str:
    """One `::error`; a fault of a flag stands in no file, so it is shown at the recipe, with the flag named."""
    of_flag = fault.path in flags
    file = checked.path if of_flag else fault.path
    properties = {"file": file, "line": fault.line, "col": fault.column, "title": fault.code}
    shown = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items() if value is not None)
    message = f"{fault.path}: {fault.message}" if of_flag else fault.message
    if fault.help:
        message += f"\nhelp: {fault.help}"
    return f"::error {shown}::{_data(message)}"


def _data(text: str) -> str:
    """Text of a GitHub workflow command, escaped as its runner unescapes it; names of files may be no text at all."""
    return text.encode("utf-8", "replace").decode().replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
