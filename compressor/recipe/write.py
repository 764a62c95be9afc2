"""Recipes as YAML that reads back as the same, and the files they are written to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from compressor.errors import Diagnostic
from compressor.files.writing import check_place, staged
from compressor.files.written import put
from compressor.progress import Progress
from compressor.recipe.load import read_draft
from compressor.recipe.nodes import parse
from compressor.recipe.schema import Recipe
from compressor.recipe.variables import escaped

_TELLTALE_KEYS = {"version", "modifiers"}  # of a recipe, however unfinished


def resolved_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe with every default, less the keys that hold nothing."""
    return recipe.model_dump(mode="json", exclude_none=True, exclude=None if recipe.modifiers else {"modifiers"})


def resolved_text(recipe: Recipe) -> str:
    """The recipe as YAML that resolves to the same recipe again."""
    values = _escaped(resolved_values(recipe))
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def value_text(value: Any) -> str:
    """One value of a recipe on one line, as it may stand after its key; a list in brackets."""
    text = yaml.dump(_escaped(value), Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.partition("\n")[0]  # below a text without quotes PyYAML ends the document


def check_recipe_place(output: Path, *, force: bool, option: str = "--output") -> None:
    """Refuse to write over a recipe unless asked to, and over anything else in any case.

    Raises:
        OutputError: O601 a recipe is there; O603 something else is.
    """
    check_place(output, "recipe", "file", _is_recipe, force=force, option=option)


def write_recipe(text: str, output: Path, progress: Progress, *, force: bool, option: str = "--output") -> None:
    """Write a recipe aside, then put it in place whole.

    Raises:
        OutputError: O602 the place cannot be written to; O601 or O603 something has come there meanwhile.
    """
    with staged(output, option) as folder:
        file = folder / output.name
        file.write_text(text, encoding="utf-8")
        check_recipe_place(output, force=force, option=option)
        put(file, output, progress)


def _is_recipe(path: Path) -> bool:
    written = read_draft(path).root.value if path.is_file() else None
    return isinstance(written, dict) and bool(_TELLTALE_KEYS & set(written))


def _escaped(value: Any) -> Any:
    """The same value, in which no `${` asks to be filled in; keys are never filled in."""
    match value:
        case dict():
            return {key: _escaped(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_escaped(inner) for inner in value]
        case str():
            return escaped(value)
        case _:
            return value


class _Dumper(yaml.SafeDumper):
    """Writes only what the recipe reader takes: it is stricter with plain text than YAML 1.1, as with `1e-3`."""

    def text(self, text: str) -> yaml.ScalarNode:
        faults: list[Diagnostic] = []
        plain = text.isprintable() and parse(text, "", faults).value == text and not faults
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _Dumper.text)
