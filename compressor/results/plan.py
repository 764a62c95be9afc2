"""Predicted results of a run, as frozen data; no torch. Fractions are in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.errors import Diagnostic
from compressor.results.changes import Change
from compressor.results.network import ModelSummary, SparsitySummary

PLAN_SCHEMA = "compressor/plan/1"


@dataclass(frozen=True)
class PredictedSize:
    """Predicted size of a model's file in one dtype and layout, in bytes."""

    dtype: str
    layout: str
    size_bytes: int


@dataclass(frozen=True)
class StageTime:
    """Estimated time of a stage of a run.

    Attributes:
        stage: open, evaluate before, search, modify, save, evaluate after, turns, export, report.
        seconds: wall time; None if it cannot be estimated.
        basis: the measurement behind the estimate.
        steps: of the stage, by the names that the run's report of times uses.
    """

    stage: str
    seconds: float | None
    basis: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Predicted results of a run.

    Attributes:
        model: the model before the modifiers.
        steps: the changes that each modifier would make, in order.
        sparsity: zeros after the last step.
        image_size: side in pixels of the square image that `macs` counts for.
        macs: multiply-accumulates of every convolution, by name.
        sizes: the saved file in every dtype and layout.
        dtype: the recipe's own choice among them.
        layout: the recipe's own choice among them.
        times: of every stage of the run.
        refused: errors with which the run would end, other than those of the recipe and the weights.
        warnings: about data that would be left out or corrected.
    """

    model: ModelSummary
    steps: tuple[Change, ...]
    sparsity: SparsitySummary
    image_size: int
    macs: dict[str, int]
    sizes: tuple[PredictedSize, ...]
    dtype: str
    layout: str
    times: tuple[StageTime, ...]
    refused: tuple[Diagnostic, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def network_macs(self) -> int:
        """Multiply-accumulates of all convolutions."""
        return sum(self.macs.values())

    @property
    def targeted_macs(self) -> int:
        """Multiply-accumulates of the layers any step touches."""
        return sum(self.macs[name] for name in self._zeros)

    @property
    def zero_macs(self) -> float:
        """Multiply-accumulates with a weight that will be zero, in the layers any step touches."""
        return sum(self.macs[name] * fraction for name, fraction in self._zeros.items())

    @property
    def _zeros(self) -> dict[str, float]:
        """Fraction of zeros after the last step that prunes a layer, by layer."""
        return {layer.name: layer.sparsity for step in self.steps if step.prunes for layer in step.layers}
