"""The steps of a recipe: each modifier with the layers it touches, and whether it matters beside the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from compressor.errors import Diagnostic, PlanError
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import Layer, raw_weights_unknown, zero_fraction
from compressor.plan.targets import Places, sparsity_groups, targeted
from compressor.recipe.modifiers import Modifier, Prune, Repair
from compressor.results.sensitivity import SensitivityTable
from compressor.results.units import percent

Step = tuple[tuple[Layer, ...], Modifier]
PruneStep = tuple[tuple[Layer, ...], Prune]
Tables = Mapping[str, SensitivityTable]  # by the name a recipe gives them

NO_TABLES: Tables = {}


def steps_of(
    modifiers: Sequence[Modifier],
    layers: Sequence[Layer],
    places: Places,
    tables: Tables = NO_TABLES,
    *,
    final: bool = True,
) -> list[Step]:
    """Every modifier with the layers it touches, in order; nothing is changed.

    Args:
        modifiers: of a recipe.
        layers: every convolution of the model.
        places: where the recipe's values were written.
        tables: those that the modifiers name.
        final: whether the sparsities are those to be used; of one that a search tries a step may make no difference.

    Raises:
        PlanError: P2xx every modifier that does not fit the model; or, where all do, P205 those that make no
            difference.
    """
    known = [layer.convolution for layer in layers]
    faults: list[Diagnostic] = []
    steps: list[Step] = []
    for index, modifier in enumerate(modifiers):
        try:
            groups = targeted(known, modifier, index, places)
        except PlanError as error:
            faults += error.diagnostics
            continue
        chosen = {convolution.name for group in groups for convolution in group.convolutions}
        touched = tuple(layer for layer in layers if layer.name in chosen)
        faults += _not_known_here(touched, modifier, index, places, tables)
        steps.append((touched, modifier))
    if faults:
        raise PlanError(*faults)
    if final:
        check_every_step_matters(steps, places)
    return steps


def _not_known_here(
    layers: tuple[Layer, ...], modifier: Modifier, index: int, places: Places, tables: Tables
) -> Iterator[Diagnostic]:
    """What a modifier would have to know of the model, and cannot."""
    if isinstance(modifier, Repair):
        if modifier.method == "batchnorm" and all(layer.scale is None or layer.folded for layer in layers):
            message = f"modifiers[{index}] has no BatchNorm to measure: it is folded into the convolutions"
            place = places.place("modifiers", index, "method")
            yield place.diagnostic("P208", message, "write fuse: after in `model`, or repair by another method")
        return
    if modifier.score == "raw_magnitude":
        help_text = "write score: magnitude, or name the checkpoint before it was fused"
        unknown = raw_weights_unknown(layers, places.place("modifiers", index, "score"), help_text)
        if unknown:
            yield unknown
    if modifier.table is not None:
        table = tables[modifier.table]
        weights = {each.name: each.weights for each in table.layers}
        strange = [layer.name for layer in layers if weights.get(layer.name) != layer.weight.numel()]
        if strange:
            message = f"{modifier.table} was measured on another network: it does not know {strange[0]} of this shape"
            place = places.place("modifiers", index, "table")
            yield place.diagnostic("P210", message, "measure these weights with `compressor sensitivity`")


def check_every_step_matters(steps: Sequence[Step], places: Places) -> None:
    """Refuse a prune without which the very same weights would be zero, and a repair with nothing to repair.

    Nothing is changed. A repair changes what later steps find, so only the prunes between two repairs are weighed
    against one another.

    Raises:
        PlanError: P205 for every such step; of two equal steps the later one.
    """
    layers = {layer.name: layer for touched, _ in steps for layer in touched}
    faults: list[Diagnostic] = []
    run: list[tuple[int, PruneStep]] = []
    pruned = False
    for index, (touched, modifier) in enumerate(steps):
        if isinstance(modifier, Prune):
            run.append((index, (tuple(layers[layer.name] for layer in touched), modifier)))
            pruned = True
            continue
        if not pruned:
            message = f"modifiers[{index}] makes no difference: nothing is pruned before it"
            help_text = "write it after the prune whose loss it is to repair"
            faults.append(places.place("modifiers", index).diagnostic("P205", message, help_text))
        faults += _needless(run, places)
        layers |= _pruned([step for _, step in run])
        run = []
    faults += _needless(run, places)
    if faults:
        raise PlanError(*faults)


def _needless(run: Sequence[tuple[int, PruneStep]], places: Places) -> list[Diagnostic]:
    """The prunes of an uninterrupted run without which the same weights are zero.

    Only steps that share a layer, or whose layers hold zeros enough already, are computed.
    """
    if not all(_is_told_by_weights(modifier) for _, (_, modifier) in run):
        run = [(index, step) for index, step in run if _is_told_by_weights(step[1]) and _may_be_done(*step)]
    times = Counter(layer.name for _, (layers, _) in run for layer in layers)
    doubtful = [
        (index, step) for index, step in run if any(times[layer.name] > 1 for layer in step[0]) or _may_be_done(*step)
    ]
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

    return [_no_difference(i, step, places, done=not changes(i, step)) for i, step in doubtful if i not in needed]


def _no_difference(index: int, step: PruneStep, places: Places, *, done: bool) -> Diagnostic:
    """P205 of a prune; `done` where its layers hold as many zeros as it asks for before any other step."""
    if done:
        share = percent(zero_fraction(step[0]))
        held = "sparser" if sum(layer.zeros for layer in step[0]) > _asked(*step) + len(step[0]) else "as sparse"
        told = f"its layers are {held} already, {share} of their weights are zero"
        message = f"modifiers[{index}] makes no difference: {told}"
        help_text = "ask for more; or leave the key `modifiers` out, and the model is evaluated and packed as it is"
    else:
        message = f"modifiers[{index}] makes no difference: without it the same weights are zero"
        help_text = "take it out, or give it other layers, another sparsity or another place in the order"
    return places.place("modifiers", index).diagnostic("P205", message, help_text)


def _is_told_by_weights(modifier: Prune) -> bool:
    """Whether its masks are known before a run: no images, no table and no search are needed."""
    return modifier.score != "wanda" and modifier.table is None and modifier.budget is None


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
