"""The steps of a recipe on a network: checked, predicted, applied and proved, whatever kinds they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compressor.errors import Diagnostic, PlanError
from compressor.modifiers.behaviours import behaviour_of
from compressor.plan.outline import Outline, Resolved
from compressor.plan.targets import Places, Spot, select
from compressor.recipe.modifiers import Modifier
from compressor.recipe.modifiers.step import Alters, Step

Steps = tuple[Resolved[Modifier], ...]


def resolve(modifiers: Sequence[Modifier], outline: Outline, places: Places) -> Steps:
    """Every modifier with the convolutions it touches, in order.

    Raises:
        PlanError: P2xx every modifier that does not fit the network.
    """
    errors: list[Diagnostic] = []
    steps: list[Resolved[Modifier]] = []
    for index, modifier in enumerate(modifiers):
        step, found = resolved(modifier, Spot(places, index), outline)
        errors += found
        steps.append(step)
        outline = outline.after(modifier)
    if errors:
        raise PlanError(*errors)
    return tuple(steps)


def resolved(modifier: Modifier, spot: Spot, outline: Outline) -> tuple[Resolved[Modifier], list[Diagnostic]]:
    """One modifier with the convolutions it touches, and all that does not fit the network."""
    selection = modifier.selection
    if selection is None:
        step = Resolved(modifier, spot)
        return step, list(behaviour_of(modifier).check(step, outline))
    chosen = select(outline.convolutions, selection, spot, suggest=outline.suggest)
    step = Resolved(modifier, spot, chosen.convolutions)
    if not chosen.convolutions:
        return step, list(chosen.errors)
    return step, [*chosen.errors, *behaviour_of(modifier).check(step, outline)]


def needless_twin(modifier: Step, index: int, earlier: Iterable[tuple[int, Step]]) -> int | None:
    """The index of an equal step before this one that leaves nothing for it to do; None where there is none.

    What a step of values is given has changed if another stood between; of shapes, a second step takes more.
    """
    twins = [number for number, other in earlier if other == modifier]
    if "shapes" in modifier.alters:
        return None
    if "values" in modifier.alters:
        twins = [number for number in twins if number == index - 1]
    return twins[0] if twins else None


def altered(modifiers: Iterable[Step]) -> frozenset[Alters]:
    """What some modifiers alter, all together."""
    return frozenset(each for modifier in modifiers for each in modifier.alters)


def titles(modifiers: Iterable[Modifier]) -> tuple[str, ...]:
    """What modifiers are called in the account of where the time went."""
    return tuple(behaviour_of(modifier).title(modifier) for modifier in modifiers)
