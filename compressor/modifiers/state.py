"""What the steps of a recipe work on and with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from compressor.models.detector import Detector
from compressor.plan.layers import Layer, convolutions
from compressor.plan.outline import NO_TABLES, Resolved, Tables
from compressor.progress import Progress, Silent, Update
from compressor.recipe.modifiers.step import Calibration, Step

Images = Callable[[Calibration], Tensor]  # (N, 3, H, W) in [0, 1]
WeightFormat = Literal["float16", "float32"]  # of the weights of a layer in the file


class Parts(Protocol):
    """Where a long step leaves what it has done so far, and finds it again when the run is resumed."""

    def find(self) -> dict[str, bytes] | None:
        """What this step left last; None where it begins."""

    @property
    def due(self) -> bool:
        """Whether enough is done since the last part for it to be left."""

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Leave what is done so far, in place of what was left before."""


class NoParts:
    """Leaves nothing: a step is done in one go."""

    def find(self) -> None:
        """Nothing was left."""

    @property
    def due(self) -> bool:
        """Never."""
        return False

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Leave nothing."""


@dataclass(frozen=True, eq=False)
class Reports:
    """Where a long step reports to: its progress, and its parts."""

    update: Update
    parts: Parts


@dataclass(eq=False)
class State:
    """A network between two steps: all that a step may change, and all that the next one finds.

    Attributes:
        model: in evaluation mode; a step changes it in place, or puts another in its place.
        source: the network as it was loaded, which no step changes.
        dense: the network before all steps, in the form of `model`; None where no step asks for it.
        groups: by layer, within how many neighbouring input channels its zeros may move without breaking a pattern.
        settled: by layer, where it was zero after its last repair.
        formats: by layer, the number format of its weights in the file where it is not that of the recipe.
    """

    model: Detector
    source: Detector
    dense: Detector | None = None
    groups: dict[str, int] = field(default_factory=dict)
    settled: dict[str, Tensor] = field(default_factory=dict)
    formats: dict[str, WeightFormat] = field(default_factory=dict)

    @classmethod
    def before(cls, steps: Sequence[Resolved[Step]], model: Detector, source: Detector) -> State:
        """The state before the first of some steps."""
        compares = any(step.modifier.compares for step in steps)
        return cls(model, source, copy.deepcopy(model) if compares else None)

    def layers(self, step: Resolved[Step]) -> tuple[Layer, ...]:
        """The layers of a step as they are now, with the scale of their BatchNorm where it is known."""
        names = step.names
        known = convolutions(self.model, self.source if self.model.fused else None)
        return tuple(layer for layer in known if layer.name in names)


@dataclass(frozen=True, eq=False)
class Context:
    """What steps are given beside the state.

    Attributes:
        images: the calibration images that a step asks for.
        device: where to compute; the state's model stays where it is.
        tables: sensitivity tables by the name that a recipe gives them.
        progress: receives what is being done.
        parts: of the step that is being done.
    """

    images: Images
    device: torch.device
    tables: Tables = field(default_factory=lambda: NO_TABLES)
    progress: Progress = field(default_factory=Silent)
    parts: Parts = field(default_factory=NoParts)

    def with_parts(self, parts: Parts) -> Context:
        """The same for another step."""
        return replace(self, parts=parts)
