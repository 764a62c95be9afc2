"""The `prune` modifier: set the least important weights to zero and prove how many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.errors import Diagnostic, RunError
from compressor.modifiers import allocation
from compressor.modifiers.masks import keep_mask, n_of_m_mask
from compressor.modifiers.scores import Score, score
from compressor.plan.layers import Layer
from compressor.plan.targets import sparsity_groups
from compressor.recipe.modifiers import Prune
from compressor.results.network import Change, LayerChange
from compressor.sensitivity_table import SensitivityTable


@dataclass(frozen=True)
class Evidence:
    """What a prune knows beside the weights; which of it is needed depends on the modifier.

    Attributes:
        input_norms: (C_in,) by layer, see `scores.wanda`.
        table: measured losses of every layer, see `allocation.by_losses`.
    """

    input_norms: Mapping[str, Tensor] = field(default_factory=dict)
    table: SensitivityTable | None = None


NO_EVIDENCE = Evidence()
_ABOVE_ZERO = np.nextafter(np.float32(0), np.float32(1))  # the least score of a weight that is not zero


def prune(layers: tuple[Layer, ...], modifier: Prune, evidence: Evidence = NO_EVIDENCE) -> Change:
    """Zero the dropped weights of `layers` in place, and count what happened.

    Raises:
        RunError: E801 the zeros found afterwards are not those planned.
    """
    masks = keep_masks(layers, modifier, evidence)
    changes = tuple(_apply(layer, mask) for layer, mask in zip(layers, masks, strict=True))
    return Change("prune", _described(modifier, layers), changes)


def keep_masks(layers: tuple[Layer, ...], modifier: Prune, evidence: Evidence = NO_EVIDENCE) -> list[NDArray[np.bool_]]:
    """The keep-mask of every layer, (numel,) in C order; nothing is changed."""
    masks: dict[str, NDArray[np.bool_]] = {}
    by_name = {layer.name: layer for layer in layers}
    for group in sparsity_groups([layer.convolution for layer in layers], modifier):
        members = [by_name[convolution.name] for convolution in group.convolutions]
        masks |= zip(
            (layer.name for layer in members), _group_masks(members, group.sparsity, modifier, evidence), strict=True
        )
    return [masks[layer.name] for layer in layers]


def _group_masks(
    layers: list[Layer], sparsity: float | None, modifier: Prune, evidence: Evidence
) -> list[NDArray[np.bool_]]:
    importances = [_zeros_last(layer, score(layer, modifier, evidence.input_norms)) for layer in layers]
    if modifier.n_of_m is not None:
        shapes = [layer.convolution.shape for layer in layers]
        return [n_of_m_mask(each, shape, *modifier.n_of_m) for each, shape in zip(importances, shapes, strict=True)]
    assert sparsity is not None  # the schema asks for one where the pattern does not say it
    counts = _counts(layers, importances, sparsity, modifier, evidence)
    return [keep_mask(importance, count) for importance, count in zip(importances, counts, strict=True)]


def _zeros_last(layer: Layer, importance: Score) -> Score:
    """The scores, in which a weight that is zero already is below all others: zeros go first, whatever the score."""
    zero = (layer.weight == 0).cpu().numpy().reshape(-1)
    return np.where(zero, np.float32(0), np.maximum(importance, _ABOVE_ZERO))


def _counts(
    layers: list[Layer], importances: list[Score], sparsity: float, modifier: Prune, evidence: Evidence
) -> list[int]:
    match modifier.allocation:
        case "uniform":
            return allocation.uniform([importance.size for importance in importances], sparsity)
        case "global":
            return allocation.across_layers(importances, sparsity)
        case "lamp":
            return allocation.lamp(importances, sparsity)
        case "erk":
            return allocation.erdos_renyi_kernel([layer.convolution.shape for layer in layers], sparsity)
        case "sensitivity":
            assert evidence.table is not None  # read before any step
            return allocation.by_losses([evidence.table.of(layer.name) for layer in layers], sparsity)
        case None:
            raise AssertionError("the schema asks for an allocation where the pattern does not make one needless")
        case _:
            assert_never(modifier.allocation)


def _apply(layer: Layer, mask: NDArray[np.bool_]) -> LayerChange:
    weight = layer.weight
    change = _planned(layer, mask)
    keep = torch.from_numpy(mask).view(weight.shape).to(weight.device)
    weight.masked_fill_(~keep, 0.0)
    if layer.zeros != change.zeros_after:
        message = f"{layer.name} holds {layer.zeros} zeros after pruning, planned were {change.zeros_after}"
        raise RunError(Diagnostic("E801", message, help="this is a fault of compressor; please report it"))
    return change


def _planned(layer: Layer, mask: NDArray[np.bool_]) -> LayerChange:
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


def _described(modifier: Prune, layers: tuple[Layer, ...]) -> str:
    """One line for the terminal and the report."""
    if modifier.n_of_m is not None:
        n, m = modifier.n_of_m
        return f"prune {len(layers)} layers to {n} of every {m} weights along the input channels ({modifier.score})"
    how = f"({modifier.pattern}, {modifier.score}, {modifier.allocation})"
    if isinstance(modifier.sparsity, dict):
        shares = ", ".join(f"{100 * sparsity:g} % of {key}" for key, sparsity in modifier.sparsity.items())
        return f"prune {shares}: {len(layers)} layers {how}"
    assert isinstance(modifier.sparsity, float)  # the schema asks for one, and budgets are settled before
    return f"prune {100 * modifier.sparsity:g} % of the weights of {len(layers)} layers {how}"
