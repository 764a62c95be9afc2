"""Summary of a network, and the zeros of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from compressor.results.changes import Change


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
