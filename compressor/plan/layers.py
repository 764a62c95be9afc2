"""The layers a recipe can name: every convolution of a model, in order, with its weight."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from compressor.recipe.targets import Role
from compressor.yolov5.build import YOLOv5
from compressor.yolov5.convolutions import Convolution, convolutions_of


@dataclass(frozen=True)
class Layer:
    """A convolution a modifier may touch.

    Attributes:
        convolution: its name, role and shape.
        weight: (C_out, C_in, kH, kW), detached; shares its memory with the model's parameter.
    """

    convolution: Convolution
    weight: Tensor

    @property
    def name(self) -> str:
        """Module name, such as `model.2.cv1.conv`."""
        return self.convolution.name

    @property
    def role(self) -> Role:
        """Stem, backbone, neck or detect."""
        return self.convolution.role

    @property
    def zeros(self) -> int:
        """Weights that are exactly zero."""
        return int((self.weight == 0).sum())


def convolutions(model: YOLOv5) -> tuple[Layer, ...]:
    """Every Conv2d of the model, in the order of its modules."""
    modules = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    found = convolutions_of(model.architecture)
    assert [convolution.name for convolution in found] == list(modules)  # tested on every stock architecture
    return tuple(Layer(convolution, modules[convolution.name].weight.detach()) for convolution in found)
