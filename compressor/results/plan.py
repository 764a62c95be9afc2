"""What a run would do, told without doing it, as frozen data; no torch. Fractions are in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.errors import Diagnostic
from compressor.results.network import Change, ModelSummary, SparsitySummary

PLAN_SCHEMA = "compressor/plan/1"


@dataclass(frozen=True)
class PredictedSize:
    """What a model's file will weigh in one form, in bytes."""

    dtype: str
    layout: str
    size_bytes: int


@dataclass(frozen=True)
class StageTime:
    """About how long a stage of a run will take.

    Attributes:
        stage: open, evaluate before, search, modify, save, evaluate after, turns, export, report.
        seconds: wall time, None where it cannot be told.
        basis: what the figure rests on.
        steps: of the stage, as the run's account of time names them.
    """

    stage: str
    seconds: float | None
    basis: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a run would do, told without doing it.

    Attributes:
        model: the model the modifiers are given.
        steps: what each modifier would change, in order.
        sparsity: zeros after the last step.
        image_size: side in pixels of the square image that `macs` counts for.
        macs: multiply-accumulates of every convolution, by name.
        sizes: the saved file in every dtype and layout.
        dtype: the recipe's own choice among them.
        layout: likewise.
        times: every stage of the run.
        refused: what the run would refuse, beside the recipe and the weights.
        warnings: what of the data would be left out or amended.
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
