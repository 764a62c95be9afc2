"""What can be done to a model: one file per modifier, chosen by the one match below."""

from __future__ import annotations

from typing import assert_never

from compressor.modifiers.prune import prune
from compressor.plan.layers import Layer
from compressor.recipe.schema import Modifier, Prune
from compressor.results import Change


def apply_modifier(layers: tuple[Layer, ...], modifier: Modifier) -> Change:
    """Change the layers in place."""
    match modifier:
        case Prune():
            return prune(layers, modifier)
        case _:
            assert_never(modifier)
