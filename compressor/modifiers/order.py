"""The steps of a recipe: each modifier with the layers it touches, and whether it matters beside the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from compressor.errors import Diagnostic, PlanError
from compressor.modifiers.prune import prune
from compressor.plan.layers import Layer
from compressor.plan.targets import Places, sparsity_groups, targeted
from compressor.recipe.schema import Modifier

Step = tuple[tuple[Layer, ...], Modifier]


def steps_of(modifiers: Sequence[Modifier], layers: Sequence[Layer], places: Places) -> list[Step]:
    """Every modifier with the layers it touches, in order; nothing is changed.

    Args:
        modifiers: of a recipe.
        layers: every convolution of the model.
        places: where the recipe's values were written.

    Raises:
        PlanError: P2xx every modifier that does not fit the model; or, where all do, P205 those that make no
            difference.
    """
    known = [layer.convolution for layer in layers]
    faults: list[Diagnostic] = []
    steps = []
    for index, modifier in enumerate(modifiers):
        try:
            groups = targeted(known, modifier, index, places)
        except PlanError as error:
            faults += error.diagnostics
            continue
        chosen = {convolution.name for group in groups for convolution in group.convolutions}
        steps.append((tuple(layer for layer in layers if layer.name in chosen), modifier))
    if faults:
        raise PlanError(*faults)
    check_every_step_matters(steps, places)
    return steps


def check_every_step_matters(steps: Sequence[Step], places: Places) -> None:
    """Refuse a step without which the very same weights would be zero; nothing is changed.

    Only steps that share a layer, or whose layers hold zeros enough already, are computed.

    Raises:
        PlanError: P205 for every such step; of two equal steps the later one.
    """
    times = Counter(layer.name for layers, _ in steps for layer in layers)
    doubtful = [
        i for i, step in enumerate(steps) if any(times[layer.name] > 1 for layer in step[0]) or _may_be_done(*step)
    ]
    layers = {layer.name: layer for i in doubtful for layer in steps[i][0]}
    needed = list(doubtful)
    outcome = _zeros(layers, [steps[i] for i in needed]) if doubtful else {}
    for i in reversed(doubtful):
        others = [j for j in needed if j != i]
        without = _zeros(layers, [steps[j] for j in others])
        if all(torch.equal(without[name], zeros) for name, zeros in outcome.items()):
            needed = others
    needless = [i for i in doubtful if i not in needed]
    if needless:
        help_text = "take it out, or give it other layers, another sparsity or another place in the order"
        message = "modifiers[{}] makes no difference: without it the same weights are zero"
        faults = (places.place("modifiers", i).diagnostic("P205", message.format(i), help_text) for i in needless)
        raise PlanError(*faults)


def _may_be_done(layers: tuple[Layer, ...], modifier: Modifier) -> bool:
    """Whether the layers hold as many zeros already as the step would leave in them."""
    zeros = sum(layer.zeros for layer in layers)
    if modifier.n_of_m is not None:
        n, m = modifier.n_of_m
        return zeros >= sum(layer.weight.numel() for layer in layers) * (m - n) // (2 * m)  # partial groups lose fewer
    groups = sparsity_groups([layer.convolution for layer in layers], modifier)
    dropped = sum(group.sparsity * sum(c.weights for c in group.convolutions) for group in groups if group.sparsity)
    return zeros >= int(dropped) - len(layers)  # each layer's count may be rounded up


def _zeros(layers: dict[str, Layer], steps: Sequence[Step]) -> dict[str, Tensor]:
    """Where the weights of `layers` are zero after `steps`, computed on copies."""
    copies = {name: Layer(layer.convolution, layer.weight.clone()) for name, layer in layers.items()}
    for touched, modifier in steps:
        prune(tuple(copies[layer.name] for layer in touched), modifier)
    return {name: copy.weight == 0 for name, copy in copies.items()}
