"""Changes that the steps of a recipe made to the layers of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field


@dataclass(frozen=True)
class LayerChange:
    """One weight tensor before and after a step that leaves its shape alone.

    Attributes:
        name: module name, such as `model.2.cv1.conv`.
        role: stem, backbone, neck or detect.
        shape: (C_out, C_in, kH, kW).
        weights: number of weights.
        pruned: exact number of weights that the mask drops.
        zeros_before: weights that were exactly zero before the step.
        zeros_after: weights that are exactly zero after it: those that the mask drops and those that were zero before.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    weights: Annotated[int, Field(gt=0)]
    pruned: int
    zeros_before: int
    zeros_after: int

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that are zero after the step."""
        return self.zeros_after / self.weights


@dataclass(frozen=True)
class Resized:
    """A weight tensor that has another shape after a step; both are (C_out, C_in, kH, kW).

    A step records it of every tensor, those of the layers that take the outputs of a narrower one too.
    """

    name: str
    role: str
    shape_before: tuple[int, ...]
    shape_after: tuple[int, ...]
    kind: Literal["resized"] = "resized"


@dataclass(frozen=True)
class Reformatted:
    """A weight tensor that is stored in another number format after a step, such as `float32` or `int8`."""

    name: str
    role: str
    shape: tuple[int, ...]
    format_before: str
    format_after: str
    kind: Literal["reformatted"] = "reformatted"


@dataclass(frozen=True)
class Retrained:
    """A weight tensor whose values a step changed, as a repair or a training does; `weights` is how many it may."""

    name: str
    weights: Annotated[int, Field(gt=0)]
    kind: Literal["retrained"] = "retrained"


Effect = Annotated[Resized | Reformatted | Retrained, Field(discriminator="kind")]


_ALTERED = {"prune": ("zeros",), "repair": ("values",)}  # records of run/1 may not say it


@dataclass(frozen=True)
class Change:
    """The changes made by one modifier.

    Attributes:
        modifier: the `type` that the recipe names.
        summary: one line for the terminal and the report.
        layers: zeros of every layer that it touched and left in its shape.
        effects: what else it did to layers.
        alters: what this kind of modifier alters: zeros, values, shapes, numbers, input. Where a record does not say
            it, as those of earlier versions, it follows from the modifier.
    """

    modifier: str
    summary: str
    layers: tuple[LayerChange, ...] = ()
    effects: tuple[Effect, ...] = ()
    alters: tuple[str, ...] = ()

    @property
    def prunes(self) -> bool:
        """Whether it sets weights to zero."""
        return "zeros" in self.altered

    @property
    def altered(self) -> tuple[str, ...]:
        """What it altered."""
        return self.alters or _ALTERED.get(self.modifier, ())

    @property
    def weights(self) -> int:
        """Targeted weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def pruned(self) -> int:
        """Targeted weights the masks drop."""
        return sum(layer.pruned for layer in self.layers)

    @property
    def zeros(self) -> int:
        """Targeted weights that are zero after the step."""
        return sum(layer.zeros_after for layer in self.layers)


@dataclass(frozen=True)
class Rows:
    """A change as a table: cells of text, one row for each layer, which the first column names; or nothing.

    Attributes:
        headers: of the columns.
        cells: a row for each layer.
        total: of all layers; empty where the columns have none.
        text_columns: how many columns from the left are words; the others are numbers.
    """

    headers: tuple[str, ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()
    total: tuple[str, ...] = ()
    text_columns: int = 3


def standing(changes: Sequence[Change]) -> Iterator[Change]:
    """The changes as far as they still hold of the finished network: of each layer only what the last of them did."""
    later_zeros: set[str] = set()
    later_effects: set[tuple[str, str]] = set()
    held = []
    for change in reversed(changes):
        layers = tuple(layer for layer in change.layers if layer.name not in later_zeros)
        effects = tuple(each for each in change.effects if (each.kind, each.name) not in later_effects)
        held.append(replace(change, layers=layers, effects=effects))
        later_zeros |= {layer.name for layer in change.layers}
        later_zeros |= {effect.name for effect in change.effects if effect.kind == "resized"}
        later_effects |= {(effect.kind, effect.name) for effect in change.effects}
    yield from reversed(held)
