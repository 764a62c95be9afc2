"""What a recipe can do to a model: the closed union of its steps, each with its keys in a file of its own."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from compressor.recipe.modifiers.prune import Prune
from compressor.recipe.modifiers.repair import Repair
from compressor.recipe.part import types_of

__all__ = ["MODIFIERS", "TYPES", "Modifier", "ModifierType", "Prune", "Repair"]

Modifier = Annotated[Prune | Repair, Field(discriminator="type")]
ModifierType = Literal["prune", "repair"]
TYPES: tuple[ModifierType, ...] = get_args(ModifierType)
KINDS: tuple[type[Modifier], ...] = get_args(get_args(Modifier)[0])
MODIFIERS: dict[str, type[Modifier]] = {word: kind for kind in KINDS for word in types_of(kind)}
