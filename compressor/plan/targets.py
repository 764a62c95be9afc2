"""Which layers a modifier's `targets` and `ignore` mean on a given model."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from compressor.errors import Diagnostic, PlanError, did_you_mean
from compressor.plan.layers import ROLES, Layer
from compressor.recipe.load import RecipeFile
from compressor.recipe.schema import Modifier


def targeted(layers: tuple[Layer, ...], recipe_file: RecipeFile, index: int) -> tuple[Layer, ...]:
    """The layers modifier `index` of the recipe touches, in model order.

    Raises:
        PlanError: P201 an entry matches no layer; P202 a `re:` pattern that is no regular expression;
            P203 everything targeted is ignored as well.
    """
    modifier: Modifier = recipe_file.recipe.modifiers[index]
    faults: list[Diagnostic] = []
    chosen = _named(modifier.targets, layers, recipe_file, ("modifiers", index, "targets"), faults)
    ignored = _named(modifier.ignore, layers, recipe_file, ("modifiers", index, "ignore"), faults)
    left = tuple(layer for layer in layers if layer.name in chosen - ignored)
    if not left and not faults:
        place = recipe_file.place("modifiers", index, "ignore")
        message = f"modifiers[{index}] touches no layer: everything targeted is ignored as well"
        faults.append(place.diagnostic("P203", message, "take an entry out of `ignore`"))
    if faults:
        raise PlanError(*faults)
    return left


def _named(
    entries: tuple[str, ...],
    layers: tuple[Layer, ...],
    recipe_file: RecipeFile,
    location: tuple[str | int, ...],
    faults: list[Diagnostic],
) -> set[str]:
    """Names of the layers any entry matches; entries that match nothing are appended to `faults`."""
    names: set[str] = set()
    for position, entry in enumerate(entries):
        place = recipe_file.place(*location, position)
        try:
            matched = {layer.name for layer in layers if matches(entry, layer)}
        except re.error as fault:
            message = f"{entry!r} is not a regular expression: {fault}"
            faults.append(place.diagnostic("P202", message, "text after re: follows Python's re syntax"))
            continue
        if not matched:
            known = [*ROLES, "Conv2d", *(layer.name for layer in layers)]
            help_text = did_you_mean(entry, known) or "layers are named like model.2.cv1.conv; * matches any text"
            faults.append(place.diagnostic("P201", f"{entry!r} matches no layer of the model", help_text))
        names |= matched
    return names


def matches(entry: str, layer: Layer) -> bool:
    """Whether one entry means the layer: a role, a module type, `re:` and a pattern, or a glob on its name.

    Raises:
        re.error: the pattern is no regular expression.
    """
    if entry in ROLES:
        return layer.role == entry
    if entry.startswith("re:"):
        return re.fullmatch(entry.removeprefix("re:"), layer.name) is not None
    return entry == type(layer.module).__name__ or fnmatchcase(layer.name, entry)
