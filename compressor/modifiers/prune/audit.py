"""Whether a recorded change can be that of a prune."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from compressor.modifiers.prune import allocation
from compressor.modifiers.prune.groups import Group, exact_count, sparsity_groups
from compressor.modifiers.prune.patterns import n_of_m_mask
from compressor.plan.outline import Resolved
from compressor.recipe.modifiers import Prune
from compressor.results.changes import Change


def contradictions(change: Change, step: Resolved[Prune], before: Mapping[str, int]) -> Iterator[str]:
    """What of a recorded change cannot be that of the step: one sentence each.

    Args:
        change: as it was recorded.
        step: with its layers.
        before: zeros of each layer before the step, as far as they are known.
    """
    for layer in change.layers:
        expected = before.get(layer.name, layer.zeros_before)
        if layer.zeros_before != expected:
            yield f"{layer.name} had {expected} zeros before, recorded are {layer.zeros_before}"
        least, most = max(layer.pruned, layer.zeros_before), layer.pruned + layer.zeros_before
        if step.modifier.n_of_m is None:
            most = least  # zeros go first
        if not least <= layer.zeros_after <= min(most, layer.weights):
            yield f"{layer.name} cannot hold {layer.zeros_after} zeros of {layer.pruned} pruned"
    pruned = {layer.name: layer.pruned for layer in change.layers}
    for group in sparsity_groups(step.convolutions, step.modifier):
        yield from _wrong_group(group, step.modifier, pruned)


def _wrong_group(group: Group, modifier: Prune, pruned: Mapping[str, int]) -> Iterator[str]:
    """Counts that are not those of the layers which share a sparsity."""
    each = _each(group, modifier)
    if each is not None:
        for convolution, count in zip(group.convolutions, each, strict=True):
            if pruned.get(convolution.name) != count:
                told = pruned.get(convolution.name)
                yield f"{convolution.name} loses {count} weights by the recipe, recorded are {told}"
    elif group.sparsity is not None:
        total = exact_count(group.sparsity, sum(convolution.weights for convolution in group.convolutions))
        found = sum(pruned.get(convolution.name, 0) for convolution in group.convolutions)
        if found != total:
            yield f"{total:,} weights go by the recipe, recorded are {found:,}"


def _each(group: Group, modifier: Prune) -> list[int] | None:
    """How many weights each layer loses, where shapes alone decide it."""
    sizes = [convolution.weights for convolution in group.convolutions]
    if modifier.n_of_m is not None:
        shapes = [convolution.shape for convolution in group.convolutions]
        masks = (n_of_m_mask(np.ones(math.prod(shape), np.float32), shape, *modifier.n_of_m) for shape in shapes)
        return [int((~mask).sum()) for mask in masks]
    if group.sparsity is None:
        return None
    if modifier.allocation == "uniform":
        return allocation.uniform(sizes, group.sparsity)
    if modifier.allocation == "erk":
        return allocation.erdos_renyi_kernel([convolution.shape for convolution in group.convolutions], group.sparsity)
    return None
