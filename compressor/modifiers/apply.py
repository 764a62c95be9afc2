"""Carries out the steps of a recipe on a network, predicts what they would count, and proves what they did."""

from __future__ import annotations

from collections.abc import Sequence

from compressor.modifiers.behaviours import behaviour_of
from compressor.modifiers.state import Context, State
from compressor.modifiers.steps import Steps
from compressor.plan.outline import Resolved
from compressor.recipe.modifiers import Modifier
from compressor.results.changes import Change, standing


def apply_steps(steps: Steps, state: State, context: Context) -> tuple[Change, ...]:
    """Carry out every step in order, on the state itself.

    Raises:
        DatasetError: the images that a step asks for cannot be had.
        RunError: see the modifiers.
    """
    return tuple(apply_step(step, state, context) for step in steps)


def apply_step(step: Resolved[Modifier], state: State, context: Context) -> Change:
    """Carry out one step, on the state itself. Raises as `apply_steps` does."""
    change = behaviour_of(step.modifier).apply(step, state, context)
    context.progress.note(told(change))
    return change


def predict_steps(steps: Steps, state: State, context: Context) -> tuple[Change, ...]:
    """What `apply_steps` would count; what takes long is counted only.

    A prune after a repair is done to the weights as they are without it: its total is right, its choice a guess.

    Raises:
        DatasetError: the images that a prune asks for cannot be had.
    """
    return tuple(behaviour_of(step.modifier).predict(step, state, context) for step in steps)


def prove(changes: Sequence[Change], modifiers: Sequence[Modifier], state: State) -> None:
    """Check that a finished network is what its changes say, as far as no later one went over it.

    Raises:
        RunError: see the modifiers.
    """
    for change, modifier in zip(standing(changes), modifiers, strict=True):
        behaviour_of(modifier).prove(change, state)


def told(change: Change) -> str:
    """A change in one line."""
    return f"{change.summary}: {change.pruned:,} of {change.weights:,} weights" if change.prunes else change.summary
