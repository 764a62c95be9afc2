"""Checks that a network still is what its steps left."""

from __future__ import annotations

from compressor.errors import Diagnostic, RunError
from compressor.modifiers.state import State
from compressor.plan.layers import convolutions
from compressor.results.changes import Change


def prove_zeros(change: Change, state: State) -> None:
    """Check that every layer holds at least the zeros that a change left in it; rounding may add some.

    Raises:
        RunError: E802 a pruned weight is not zero any more.
    """
    layers = {layer.name: layer for layer in convolutions(state.model)}
    for planned in change.layers:
        zeros = layers[planned.name].zeros
        if zeros < planned.zeros_after:
            message = f"{planned.name} holds {zeros} zeros, planned were {planned.zeros_after}"
            raise RunError(Diagnostic("E802", message, help="this is a fault of compressor; please report it"))
