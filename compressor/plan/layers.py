"""The layers a recipe can name: every convolution of a model, in order, with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.jit import compiled
from compressor.models.batchnorm import batchnorm_behind, batchnorm_scale
from compressor.models.convolution import Convolution
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.plan.outline import NO_TABLES, BatchNorm, Outline, Tables
from compressor.recipe.targets import Role
from compressor.results.network import LayerSparsity


@dataclass(frozen=True)
class Layer:
    """A convolution a modifier may touch.

    Attributes:
        convolution: its name, role and shape.
        weight: (C_out, C_in, kH, kW), detached; shares its memory with the model's parameter.
        scale: (C_out,), by which folding its BatchNorm multiplies, or has multiplied, each filter; None where there is
            none, or where the checkpoint came folded and it is not known.
        folded: whether it has.
    """

    convolution: Convolution
    weight: Tensor
    scale: Tensor | None = None
    folded: bool = False

    @property
    def name(self) -> str:
        """Module name, such as `model.2.cv1.conv`."""
        return self.convolution.name

    @property
    def role(self) -> Role:
        """Stem, backbone, neck or detect."""
        return self.convolution.role

    @property
    def batchnorm(self) -> BatchNorm | None:
        """What became of its BatchNorm; None where it has none, as in the detection head."""
        if self.scale is None:
            return "lost" if self.folded and self.role != "detect" else None
        return "folded" if self.folded else "separate"

    @property
    def zeros(self) -> int:
        """Weights that are exactly zero."""
        return int(_zeros(self.weight.float().cpu().contiguous().view(-1).numpy()))

    @property
    def summary(self) -> LayerSparsity:
        """What a record holds of it."""
        return LayerSparsity(self.name, self.role, tuple(self.weight.shape), self.weight.numel(), self.zeros)


def zero_fraction(layers: Sequence[Layer]) -> float:
    """Of all weights of some layers, at least one, the share that is zero."""
    return sum(layer.zeros for layer in layers) / sum(layer.weight.numel() for layer in layers)


@compiled
def _zeros(weights: NDArray[np.float32]) -> int:
    zeros = 0
    for i in range(weights.size):
        zeros += weights[i] == 0
    return zeros


def convolutions(model: Detector, unfused: Detector | None = None) -> tuple[Layer, ...]:
    """Every Conv2d of the model, in the order of its modules.

    Args:
        model: as a modifier takes it.
        unfused: the model before its BatchNorm was folded, where that is another; the scales are taken from it.

    Raises:
        ValueError: a module has another shape than `model.spec` gives it.
    """
    weights = {name: m.weight.detach() for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    found = family_of(model).convolutions(model.spec)
    if {each.name: each.shape for each in found} != {name: tuple(weight.shape) for name, weight in weights.items()}:
        raise ValueError("the convolutions of the network are not those of its architecture")
    scales = {
        name: batchnorm_scale(module).detach()
        for name, module in (unfused or model).named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    fused = model.fused
    return tuple(Layer(each, weights[each.name], scales.get(batchnorm_behind(each.name)), fused) for each in found)


def outlined(layers: Sequence[Layer], tables: Tables = NO_TABLES) -> Outline:
    """What is known of a network with its weights, before any step.

    Args:
        layers: all of it.
        tables: those that steps name.
    """
    batchnorm = {layer.name: layer.batchnorm for layer in layers if layer.batchnorm is not None}
    return Outline(tuple(layer.convolution for layer in layers), batchnorm, tables)
