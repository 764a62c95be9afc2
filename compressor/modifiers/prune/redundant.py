"""Whether every prune of a recipe matters beside the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from compressor.errors import Diagnostic, PlanError
from compressor.modifiers.prune.groups import sparsity_groups
from compressor.modifiers.prune.zeros import prune
from compressor.modifiers.steps import Steps
from compressor.plan.layers import Layer, zero_fraction
from compressor.plan.targets import Spot
from compressor.recipe.modifiers import Prune

PruneStep = tuple[tuple[Layer, ...], Prune]


def check_every_prune_matters(steps: Steps, layers: Sequence[Layer]) -> None:
    """Refuse a prune without which the very same weights would be zero.

    Nothing is changed. A step of another kind changes what later steps find, so only the prunes between two such steps
    are weighed against one another.

    Args:
        steps: of a recipe.
        layers: every convolution of the model.

    Raises:
        PlanError: P205 for every such step; of two equal steps the later one.
    """
    known = {layer.name: layer for layer in layers}
    errors: list[Diagnostic] = []
    run: list[tuple[Spot, PruneStep]] = []
    for step in steps:
        modifier = step.modifier
        if isinstance(modifier, Prune):
            run.append((step.spot, (tuple(known[each.name] for each in step.convolutions), modifier)))
            continue
        errors += _needless(run)
        known |= _pruned([each for _, each in run])
        run = []
    errors += _needless(run)
    if errors:
        raise PlanError(*errors)


def _needless(run: Sequence[tuple[Spot, PruneStep]]) -> list[Diagnostic]:
    """The prunes of an uninterrupted run without which the same weights are zero.

    Only steps that share a layer, or whose layers hold zeros enough already, are computed.
    """
    if not all(_is_told_by_weights(modifier) for _, (_, modifier) in run):
        run = [(spot, step) for spot, step in run if _is_told_by_weights(step[1]) and _may_be_done(*step)]
    times = Counter(layer.name for _, (layers, _) in run for layer in layers)

    def may_be_needless(step: PruneStep) -> bool:
        return any(times[layer.name] > 1 for layer in step[0]) or _may_be_done(*step)

    doubtful = [(spot.index, step) for spot, step in run if may_be_needless(step)]
    needed = dict(doubtful)
    outcome = _zeros(doubtful, needed)
    for index, _ in reversed(doubtful):
        others = {j: step for j, step in needed.items() if j != index}
        without = _zeros(doubtful, others)
        if all(torch.equal(without[name], zeros) for name, zeros in outcome.items()):
            needed = others
    untouched = _zeros(doubtful, {})

    def changes(index: int, step: PruneStep) -> bool:
        alone = _zeros(doubtful, {index: step})
        return any(not torch.equal(alone[name], zeros) for name, zeros in untouched.items())

    spots = {spot.index: spot for spot, _ in run}
    return [_no_difference(spots[i], each, done=not changes(i, each)) for i, each in doubtful if i not in needed]


def _no_difference(spot: Spot, step: PruneStep, *, done: bool) -> Diagnostic:
    """P205 of a prune; `done` where its layers hold as many zeros as it asks for before any other step."""
    if done:
        share = f"{100 * zero_fraction(step[0]):.2f} %"
        held = "sparser" if sum(layer.zeros for layer in step[0]) > _asked(*step) + len(step[0]) else "as sparse"
        told = f"its layers are {held} already, {share} of their weights are zero"
        message = f"{spot} makes no difference: {told}"
        help_text = "ask for more; or leave the key `modifiers` out, and the model is evaluated and packed as it is"
    else:
        message = f"{spot} makes no difference: without it the same weights are zero"
        help_text = "take it out, or give it other layers, another sparsity or another place in the order"
    return spot.error("P205", message, help_text)


def _is_told_by_weights(modifier: Prune) -> bool:
    """Whether its masks are known before a run: no images, no table and no search are needed."""
    return modifier.score != "wanda" and modifier.table is None and modifier.goal is None


def _may_be_done(layers: tuple[Layer, ...], modifier: Prune) -> bool:
    """Whether the layers hold as many zeros already as the step would leave in them."""
    asked, zeros = _asked(layers, modifier), sum(layer.zeros for layer in layers)
    if modifier.n_of_m is not None:
        return zeros >= asked // 2  # partial groups lose fewer
    return zeros >= asked - len(layers)  # each layer's count may be rounded up


def _asked(layers: tuple[Layer, ...], modifier: Prune) -> int:
    """Zeros that the step would leave in its layers, but for rounding in each; of a pattern, at most."""
    if modifier.n_of_m is not None:
        n, m = modifier.n_of_m
        return sum(layer.weight.numel() for layer in layers) * (m - n) // m
    groups = sparsity_groups([layer.convolution for layer in layers], modifier)
    return int(sum(group.sparsity * sum(c.weights for c in group.convolutions) for group in groups if group.sparsity))


def _zeros(doubtful: Sequence[tuple[int, PruneStep]], steps: Mapping[int, PruneStep]) -> dict[str, Tensor]:
    """Where the weights of the doubtful steps' layers are zero after `steps`, computed on copies."""
    untouched = {layer.name: layer for _, (layers, _) in doubtful for layer in layers}
    return {name: layer.weight == 0 for name, layer in (untouched | _pruned(list(steps.values()))).items()}


def _pruned(steps: Sequence[PruneStep]) -> dict[str, Layer]:
    """Copies of the layers as the steps leave them; a step that only a run can tell is left out."""
    layers = {layer.name: layer for touched, _ in steps for layer in touched}
    copies = {name: replace(layer, weight=layer.weight.clone()) for name, layer in layers.items()}
    for touched, modifier in steps:
        if _is_told_by_weights(modifier):
            prune(tuple(copies[layer.name] for layer in touched), modifier)
    return copies
