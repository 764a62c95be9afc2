"""The `prune` modifier: set the least important weights to zero and prove how many."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.errors import Diagnostic, PlanError, RunError
from compressor.modifiers import allocation, scores
from compressor.modifiers.masks import keep_mask
from compressor.plan.layers import Layer
from compressor.recipe.schema import Prune
from compressor.results import Change, LayerChange


def prune(layers: tuple[Layer, ...], modifier: Prune) -> Change:
    """Zero the dropped weights of `layers` in place, and count what happened.

    Raises:
        RunError: E801 the zeros found afterwards are not those planned.
    """
    masks = keep_masks(layers, modifier)
    changes = tuple(_apply(layer, mask) for layer, mask in zip(layers, masks, strict=True))
    return Change("prune", describe(modifier, layers), changes)


def keep_masks(layers: tuple[Layer, ...], modifier: Prune) -> list[NDArray[np.bool_]]:
    """The keep-mask of every layer, (numel,) in C order; nothing is changed.

    Raises:
        PlanError: P204 no weight would go, or none would stay.
    """
    importances = [scores.magnitude(layer.weight) for layer in layers]
    counts = _counts(layers, importances, modifier)
    total = sum(importance.size for importance in importances)
    if sum(counts) in (0, total):
        left = "no weight" if sum(counts) == 0 else "every weight"
        message = f"sparsity {modifier.sparsity:g} of {total:,} targeted weights takes {left}"
        raise PlanError(Diagnostic("P204", message, help="choose a sparsity further from 0 and 1, or other targets"))
    return [keep_mask(importance, count) for importance, count in zip(importances, counts, strict=True)]


def _counts(layers: tuple[Layer, ...], importances: list[NDArray[np.float32]], modifier: Prune) -> list[int]:
    match modifier.allocation:
        case "uniform":
            return allocation.uniform([importance.size for importance in importances], modifier.sparsity)
        case "global":
            return allocation.across_layers(importances, modifier.sparsity)
        case "lamp":
            return allocation.lamp(importances, modifier.sparsity)
        case "erk":
            return allocation.erdos_renyi_kernel([tuple(layer.weight.shape) for layer in layers], modifier.sparsity)
        case _:
            assert_never(modifier.allocation)


def _apply(layer: Layer, mask: NDArray[np.bool_]) -> LayerChange:
    weight = layer.weight
    change = planned_change(layer, mask)
    keep = torch.from_numpy(mask).view(weight.shape).to(weight.device)
    weight.masked_fill_(~keep, 0.0)
    if layer.zeros != change.zeros_after:
        message = f"{layer.name} holds {layer.zeros} zeros after pruning, planned were {change.zeros_after}"
        raise RunError(Diagnostic("E801", message, help="this is a fault of compressor; please report it"))
    return change


def planned_change(layer: Layer, mask: NDArray[np.bool_]) -> LayerChange:
    """What applying `mask` to the layer will do, counted before it is done."""
    weight = layer.weight
    nonzero = (weight != 0).cpu().numpy().reshape(-1)
    return LayerChange(
        name=layer.name,
        role=layer.role,
        shape=tuple(weight.shape),
        weights=weight.numel(),
        pruned=int(mask.size - mask.sum()),
        zeros_before=int(mask.size - nonzero.sum()),
        zeros_after=int(mask.size - (mask & nonzero).sum()),
    )


def describe(modifier: Prune, layers: tuple[Layer, ...]) -> str:
    """One line for the terminal and the report."""
    return (
        f"prune {100 * modifier.sparsity:g} % of the weights of {len(layers)} layers "
        f"({modifier.pattern}, {modifier.score}, {modifier.allocation})"
    )
