"""Summary of a network, and changes of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class ModelSummary:
    """A model's name and classes, and the summary that upstream prints."""

    name: str
    generation: str
    nc: int
    fused: bool
    layers: int
    parameters: int
    gradients: int
    gflops: float
    strides: tuple[int, ...]


@dataclass(frozen=True)
class LayerChange:
    """One weight tensor before and after a step.

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
class Change:
    """The changes made by one modifier."""

    modifier: str
    summary: str
    layers: tuple[LayerChange, ...]

    @property
    def prunes(self) -> bool:
        """Whether it sets weights to zero; if not, it changes the remaining ones."""
        return self.modifier == "prune"

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
class LayerSparsity:
    """Zeros of one convolution in the finished model."""

    name: str
    role: str
    shape: tuple[int, ...]
    weights: Annotated[int, Field(gt=0)]
    zeros: int


@dataclass(frozen=True)
class SparsitySummary:
    """Zeros of the finished model, counted three ways; fractions in [0, 1]."""

    targeted: float | None
    conv_weights: float
    all_parameters: float


def summed_up(layers: Sequence[LayerSparsity], changes: Sequence[Change], all_parameters: float) -> SparsitySummary:
    """The zeros of every convolution in three fractions.

    Args:
        layers: every convolution of the finished model.
        changes: of the modifiers, which list the targeted layers.
        all_parameters: fraction of all parameters that is zero.
    """
    names = {layer.name for change in changes if change.prunes for layer in change.layers}
    targeted = _zero_fraction([layer for layer in layers if layer.name in names]) if names else None
    return SparsitySummary(targeted, _zero_fraction(layers), all_parameters)


def _zero_fraction(layers: Sequence[LayerSparsity]) -> float:
    return sum(layer.zeros for layer in layers) / sum(layer.weights for layer in layers) if layers else 0.0
