"""The functions of `repair`: bring the outputs of layers back towards those of the model before all steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compressor.errors import Diagnostic
from compressor.modifiers.repair.words import described, title
from compressor.plan.outline import Outline, Resolved
from compressor.recipe.modifiers import Repair
from compressor.results.changes import Change, Rows

if TYPE_CHECKING:
    from compressor.modifiers.state import Context, State

__all__ = ["apply", "check", "contradictions", "predict", "prove", "rows", "summary", "title"]


def check(step: Resolved[Repair], outline: Outline) -> Iterator[Diagnostic]:
    """P205 nothing was pruned before it; P208 there is no BatchNorm to measure."""
    if not outline.altered - {"values"}:
        message = f"{step.spot} makes no difference: nothing is pruned before it"
        yield step.spot.error("P205", message, "write it after the prune whose loss it is to repair")
    if step.modifier.method == "batchnorm" and outline.batchnorm is not None:
        found = {outline.batchnorm.get(name) for name in step.names}
        if "separate" not in found:
            message = f"{step.spot} has no BatchNorm to measure: it is folded into the convolutions"
            help_text = "write fuse: after in `model`, or repair by another method"
            yield step.spot.error("P208", message, help_text, "method")


def predict(step: Resolved[Repair], state: State, context: Context) -> Change:
    """As many zeros as there are; nothing is changed."""
    from compressor.modifiers.repair.repair import predicted

    return predicted(state.layers(step), step.modifier)


def apply(step: Resolved[Repair], state: State, context: Context) -> Change:
    """Change the weights that are left; no zero is lost or added.

    Raises:
        RunError: E803 a layer lost or gained zeros, or is not finite; E812 too little memory for the images; E813 too
            little to measure BatchNorm by.
    """
    from compressor.modifiers.memory import enough_for_images
    from compressor.modifiers.repair.repair import repair

    with enough_for_images():
        return repair(step, state, context)


def prove(change: Change, state: State) -> None:
    """The zeros are there. Raises RunError E802."""
    from compressor.modifiers.proof import prove_zeros

    prove_zeros(change, state)


def summary(change: Change, step: Resolved[Repair]) -> str:
    """How many layers are repaired by what method, on at most as many images as the recipe asks for."""
    images = re.search(r" on (\d+) unlabelled images$", change.summary)
    count = min(int(images[1]), step.modifier.calibration.images) if images else 0
    return described(step.modifier, len(change.layers), count)


def contradictions(change: Change, step: Resolved[Repair], before: Mapping[str, int]) -> Iterator[str]:
    """Other zeros than before."""
    for layer in change.layers:
        expected = before.get(layer.name, layer.zeros_before)
        if layer.zeros_before != expected:
            yield f"{layer.name} had {expected} zeros before, recorded are {layer.zeros_before}"
        if layer.zeros_after != layer.zeros_before:
            yield f"{layer.name} cannot hold {layer.zeros_after} zeros of {layer.pruned} pruned"
    if any(layer.pruned for layer in change.layers):
        yield "a repair prunes nothing"


def rows(change: Change) -> Rows:
    """None: what it did to values is seen in figures, and it keeps the zeros."""
    return Rows()
