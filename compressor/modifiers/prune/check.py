"""Whether a prune fits a network; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

from compressor.errors import Diagnostic
from compressor.modifiers.prune.groups import Group, exact_count, sparsity_groups
from compressor.plan.outline import Outline, Resolved, raw_weights_unknown
from compressor.plan.targets import some
from compressor.recipe.modifiers import Prune
from compressor.recipe.nodes import show


def misfits(step: Resolved[Prune], outline: Outline) -> Iterator[Diagnostic]:
    """All that does not fit the network.

    P202 a layer cannot hold the pattern; P204 no weight would go, or every one; P209 the raw weights are not known;
    P210 the table was measured on another network.
    """
    yield from _pattern(step)
    for group in sparsity_groups(step.convolutions, step.modifier):
        yield from _count(step, group)
    yield from _unknown(step, outline)


def _pattern(step: Resolved[Prune]) -> Iterator[Diagnostic]:
    pattern = step.modifier.n_of_m
    small = [c for c in step.convolutions if pattern is not None and c.shape[1] < pattern[1]]
    if small and pattern is not None:
        counts = some([f"{c.name} has {c.shape[1]}" for c in small])
        message = f"{step.modifier.pattern} needs {pattern[1]} input channels: {counts}"
        entry = "stem" if {c.role for c in small} == {"stem"} else small[0].name
        yield step.spot.error("P202", message, f"leave out what cannot hold it: ignore: [{entry}]", "pattern")


def _count(step: Resolved[Prune], group: Group) -> Iterator[Diagnostic]:
    """A sparsity so small or large that rounding makes it none or all."""
    if group.sparsity is None:
        return
    total = sum(c.weights for c in group.convolutions)
    each = [c.weights for c in group.convolutions] if step.modifier.allocation == "uniform" else [total]
    lost = sum(exact_count(group.sparsity, weights) for weights in each)
    if lost in (0, total):
        which = "no weight" if lost == 0 else "every weight"
        message = f"sparsity {show(group.sparsity)} of {total:,} targeted weights takes {which}"
        yield step.spot.error("P204", message, "choose a sparsity further from 0 and 1, or other targets", "sparsity")


def _unknown(step: Resolved[Prune], outline: Outline) -> Iterator[Diagnostic]:
    """What it would have to know of the network, and cannot."""
    modifier = step.modifier
    if modifier.score == "raw_magnitude" and outline.batchnorm is not None:
        lost = [c.name for c in step.convolutions if outline.batchnorm.get(c.name) == "lost"]
        help_text = "write score: magnitude, or name the checkpoint before it was fused"
        if lost:
            yield raw_weights_unknown(lost[0], step.spot.place("score"), help_text)
    if modifier.table is not None and outline.tables is not None:
        weights = {each.name: each.weights for each in outline.tables[modifier.table].layers}
        strange = [c.name for c in step.convolutions if weights.get(c.name) != c.weights]
        if strange:
            message = f"{modifier.table} was measured on another network: it does not know {strange[0]} of this shape"
            yield step.spot.error("P210", message, "measure these weights with `compressor sensitivity`", "table")
