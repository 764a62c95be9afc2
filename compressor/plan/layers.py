"""The layers a recipe can name: every convolution of a model, in order, with its role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from compressor.yolov5.build import YOLOv5

Role = Literal["stem", "backbone", "neck", "detect"]
ROLES: tuple[Role, ...] = ("stem", "backbone", "neck", "detect")


@dataclass(frozen=True)
class Layer:
    """A convolution a modifier may touch.

    Attributes:
        name: module name, such as `model.2.cv1.conv`.
        role: stem is layer 0, detect the three or four output convolutions, neck the rest of the head.
        module: the convolution.
    """

    name: str
    role: Role
    module: nn.Conv2d

    @property
    def weight(self) -> Tensor:
        """(C_out, C_in, kH, kW), detached."""
        return self.module.weight.detach()

    @property
    def zeros(self) -> int:
        """Weights that are exactly zero."""
        return int((self.weight == 0).sum())


def convolutions(model: YOLOv5) -> tuple[Layer, ...]:
    """Every Conv2d of the model, in the order of its modules."""
    backbone = len(model.architecture.backbone)
    last = len(model.architecture.rows) - 1
    return tuple(
        Layer(name, _role(int(name.split(".")[1]), backbone, last), module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    )


def _role(index: int, backbone: int, last: int) -> Role:
    if index == 0:
        return "stem"
    if index == last:
        return "detect"
    return "backbone" if index < backbone else "neck"
