"""What is known of a network before anything is done to it, and the steps of a recipe on it; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar

from compressor.errors import Diagnostic
from compressor.models.convolution import Convolution
from compressor.plan.targets import Spot
from compressor.recipe.modifiers.step import Alters, Step
from compressor.recipe.nodes import Place
from compressor.results.sensitivity import SensitivityTable

Tables = Mapping[str, SensitivityTable]  # by the name a recipe gives them
BatchNorm = Literal["separate", "folded", "lost"]  # lost: folded in the file, so that its scale is not known

M_co = TypeVar("M_co", bound=Step, covariant=True)
NO_TABLES: Tables = {}


@dataclass(frozen=True)
class Outline:
    """A network as a step finds it, as far as that is known without running anything.

    Attributes:
        convolutions: all of them, in the order of the model.
        batchnorm: of each convolution that has one; None where the weights are not at hand.
        tables: those that steps name; None where they are not read.
        altered: what the steps before alter.
        suggest: whether errors are to name the nearest right word.
    """

    convolutions: tuple[Convolution, ...]
    batchnorm: Mapping[str, BatchNorm] | None = None
    tables: Tables | None = None
    altered: frozenset[Alters] = field(default=frozenset())
    suggest: bool = True

    def after(self, step: Step) -> Outline:
        """The same network after one more step."""
        return replace(self, altered=self.altered | step.alters)


@dataclass(frozen=True)
class Resolved(Generic[M_co]):
    """A modifier of a recipe with the convolutions it touches.

    Attributes:
        modifier: as the recipe says it.
        spot: where it is written.
        convolutions: in the order of the model; none for a step that is about the network as a whole.
    """

    modifier: M_co
    spot: Spot
    convolutions: tuple[Convolution, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Of the convolutions."""
        return frozenset(convolution.name for convolution in self.convolutions)


def raw_weights_unknown(layer: str, place: Place, help_text: str) -> Diagnostic:
    """The error of asking layers that came folded for their weights as trained (P209).

    Args:
        layer: one of them.
        place: of the score that asks.
        help_text: what to write instead.
    """
    message = f"the raw weights are not known: BatchNorm is folded in the file already, as in {layer}"
    return place.diagnostic("P209", message, help_text)
