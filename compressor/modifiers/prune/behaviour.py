"""The functions of `prune`: set the least important weights to zero, and prove how many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compressor.errors import Diagnostic
from compressor.modifiers.prune.check import misfits
from compressor.modifiers.prune.words import described
from compressor.modifiers.zero_counts import zero_rows
from compressor.plan.outline import Outline, Resolved
from compressor.recipe.modifiers import Prune
from compressor.results.changes import Change, Rows

if TYPE_CHECKING:
    from compressor.modifiers.state import Context, State

__all__ = ["apply", "check", "contradictions", "predict", "prove", "rows", "summary", "title"]


def title(modifier: Prune) -> str:
    """All prunes are summed up under one name."""
    return modifier.type


def check(step: Resolved[Prune], outline: Outline) -> Iterator[Diagnostic]:
    """P202, P204, P209 and P210."""
    return misfits(step, outline)


def predict(step: Resolved[Prune], state: State, context: Context) -> Change:
    """Done to the model itself: it takes little time."""
    return apply(step, state, context)


def apply(step: Resolved[Prune], state: State, context: Context) -> Change:
    """Zero what the recipe drops.

    Raises:
        RunError: E801 the zeros found afterwards are not those planned; E812 too little memory for the images.
    """
    from compressor.modifiers.activations import input_norms
    from compressor.modifiers.memory import enough_for_images
    from compressor.modifiers.prune import zeros

    modifier = step.modifier
    with context.progress.step(title(modifier)):
        norms = {}
        if modifier.calibration is not None:
            with enough_for_images():
                norms = input_norms(state.model, context.images(modifier.calibration), context.device)
        table = None if modifier.table is None else context.tables[modifier.table]
        change = zeros.prune(state.layers(step), modifier, zeros.Evidence(norms, table))
    if modifier.n_of_m is not None:  # of several patterns, groups that lie within those of all
        for name in step.names:
            state.groups[name] = math.gcd(state.groups.get(name, 0), modifier.n_of_m[1])
    return change


def prove(change: Change, state: State) -> None:
    """The zeros are there. Raises RunError E802."""
    from compressor.modifiers.proof import prove_zeros

    prove_zeros(change, state)


def summary(change: Change, step: Resolved[Prune]) -> str:
    """How much goes from how many layers, and by which score."""
    return described(step.modifier, len(change.layers))


def contradictions(change: Change, step: Resolved[Prune], before: Mapping[str, int]) -> Iterator[str]:
    """Counts that the recipe does not give."""
    from compressor.modifiers.prune import audit

    return audit.contradictions(change, step, before)


def rows(change: Change) -> Rows:
    """Weights, those dropped, and sparsity of every layer."""
    return zero_rows(change)
