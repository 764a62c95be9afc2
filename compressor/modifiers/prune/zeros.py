"""The `prune` modifier: set the least important weights to zero and prove how many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from compressor.errors import Diagnostic, RunError
from compressor.modifiers.prune import allocation
from compressor.modifiers.prune.groups import exact_count, sparsity_groups
from compressor.modifiers.prune.patterns import n_of_m_mask
from compressor.modifiers.prune.scores import Score, magnitude, score
from compressor.modifiers.prune.selection import Cut, cut, cuts, drop, zeros_last
from compressor.modifiers.prune.words import described
from compressor.plan.layers import Layer
from compressor.recipe.modifiers import Prune
from compressor.results.changes import Change, LayerChange
from compressor.results.sensitivity import SensitivityTable


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


def prune(layers: tuple[Layer, ...], modifier: Prune, evidence: Evidence = NO_EVIDENCE) -> Change:
    """Zero the dropped weights of `layers` in place, and count what happened.

    Raises:
        RunError: E801 the zeros found afterwards are not those planned.
    """
    done = {layer.name: _drop(layer, scores, at) for layer, scores, at in _chosen(layers, modifier, evidence)}
    changes = tuple(done[layer.name] for layer in layers)
    return Change("prune", described(modifier, len(layers)), changes, alters=tuple(sorted(modifier.alters)))


def keep_masks(layers: tuple[Layer, ...], modifier: Prune, evidence: Evidence = NO_EVIDENCE) -> list[NDArray[np.bool_]]:
    """The keep-mask of every layer, (numel,) in C order; nothing is changed."""
    masks = {layer.name: at.kept(scores) for layer, scores, at in _chosen(layers, modifier, evidence)}
    return [masks[layer.name] for layer in layers]


def _chosen(layers: tuple[Layer, ...], modifier: Prune, evidence: Evidence) -> Iterator[tuple[Layer, Score, Cut]]:
    """Every layer with its scores and which of them go, group by group."""
    by_name = {layer.name: layer for layer in layers}
    for group in sparsity_groups([layer.convolution for layer in layers], modifier):
        members = [by_name[convolution.name] for convolution in group.convolutions]
        scores = [_scores(layer, modifier, evidence) for layer in members]
        if modifier.n_of_m is not None:
            ats = [Cut(np.float32(1), 0)] * len(members)  # the scores are a mask
        else:
            assert group.sparsity is not None  # the schema asks for one where the pattern does not say it
            ats = _cuts(members, scores, group.sparsity, modifier, evidence)
        yield from zip(members, scores, ats, strict=True)


def _scores(layer: Layer, modifier: Prune, evidence: Evidence) -> Score:
    scores = score(layer, modifier, evidence.input_norms)
    if modifier.score != "magnitude":
        zeros_last(scores, magnitude(layer.weight))
    if modifier.n_of_m is not None:
        return n_of_m_mask(scores, layer.convolution.shape, *modifier.n_of_m).astype(np.float32)
    return scores


def _cuts(layers: list[Layer], scores: list[Score], sparsity: float, modifier: Prune, evidence: Evidence) -> list[Cut]:
    match modifier.allocation:
        case "global":
            return cuts(scores, exact_count(sparsity, sum(each.size for each in scores)))
        case "uniform":
            counts = allocation.uniform([each.size for each in scores], sparsity)
        case "lamp":
            counts = allocation.lamp(scores, sparsity)
        case "erk":
            counts = allocation.erdos_renyi_kernel([layer.convolution.shape for layer in layers], sparsity)
        case "sensitivity":
            assert evidence.table is not None  # read before any step
            counts = allocation.by_losses([evidence.table.of(layer.name) for layer in layers], sparsity)
        case None:
            raise AssertionError("the schema asks for an allocation where the pattern does not make one needless")
        case _:
            assert_never(modifier.allocation)
    return [cut(each, count) for each, count in zip(scores, counts, strict=True)]


def _drop(layer: Layer, scores: Score, at: Cut) -> LayerChange:
    """Zero what goes. Weights that are not float32 in this machine's own memory are changed there and copied back."""
    weight = layer.weight
    host = weight.float().cpu().contiguous()
    found = drop(host.view(-1).numpy(), scores, at)
    if host is not weight:
        weight.copy_(host)
    if layer.zeros != found.zeros_after:
        message = f"{layer.name} holds {layer.zeros} zeros after pruning, planned were {found.zeros_after}"
        raise RunError(Diagnostic("E801", message, help="this is a fault of compressor; please report it"))
    return LayerChange(
        name=layer.name,
        role=layer.role,
        shape=tuple(weight.shape),
        weights=weight.numel(),
        pruned=found.dropped,
        zeros_before=found.zeros_before,
        zeros_after=found.zeros_after,
    )
