"""What can be done to a model: one file per modifier, chosen by the one match below."""

from __future__ import annotations

from typing import assert_never

from compressor.modifiers.prune import describe, keep_masks, planned_change, prune
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


def plan_modifier(layers: tuple[Layer, ...], modifier: Modifier) -> Change:
    """What `apply_modifier` would do; nothing is changed."""
    match modifier:
        case Prune():
            masks = keep_masks(layers, modifier)
            planned = tuple(planned_change(layer, mask) for layer, mask in zip(layers, masks, strict=True))
            return Change("prune", describe(modifier, layers), planned)
        case _:
            assert_never(modifier)
