"""Building blocks of YOLOv5, generations v5 (v4.0-v5.0) and v6 (v6.0-v7.0).

Sub-module names are those of the released checkpoints, so a released state dict loads key by key.
All tensors are (B, C, H, W).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from compressor.models.convolution import Convolution
from compressor.models.yolov5.activation import SILU, Activation

BN_EPS = 1e-3
BN_MOMENTUM = 0.03


@dataclass(frozen=True)
class ConvForm:
    """What all Conv blocks of a network have in common.

    Attributes:
        fused: without BatchNorm, the convolution with a bias.
        activation: what follows.
    """

    fused: bool = False
    activation: Activation = SILU


_STANDARD = ConvForm()


def activation_module(activation: Activation) -> nn.Module:  # noqa: PLR0912  # one flat table
    """The module that computes it; SiLU in place, as upstream has it."""
    settings: list[Any] = list(activation.settings)
    match activation.kind:
        case "SiLU":
            return nn.SiLU(inplace=True)
        case "ReLU":
            return nn.ReLU()
        case "ReLU6":
            return nn.ReLU6()
        case "LeakyReLU":
            return nn.LeakyReLU(*settings)
        case "Hardswish":
            return nn.Hardswish()
        case "Mish":
            return nn.Mish()
        case "ELU":
            return nn.ELU(*settings)
        case "SELU":
            return nn.SELU()
        case "CELU":
            return nn.CELU(*settings)
        case "GELU":
            return nn.GELU(*settings)
        case "Hardtanh":
            return nn.Hardtanh(*settings)
        case "Hardsigmoid":
            return nn.Hardsigmoid()
        case "Sigmoid":
            return nn.Sigmoid()
        case "Tanh":
            return nn.Tanh()
        case "Softplus":
            return nn.Softplus(*settings)
        case "Softsign":
            return nn.Softsign()
        case "Identity":
            return nn.Identity()
        case _:
            assert_never(activation.kind)


class Conv(nn.Module):
    """Convolution without bias, BatchNorm, activation. After fusing: convolution with bias, activation.

    Args:
        convolution: its channels, kernel, step, padding and groups.
        form: fused or not, and the activation.
    """

    bn: nn.BatchNorm2d | None

    def __init__(self, convolution: Convolution, form: ConvForm = _STANDARD) -> None:
        super().__init__()
        c_out, kernel = convolution.c_out, convolution.shape[2]
        self.conv = nn.Conv2d(
            convolution.c_in,
            c_out,
            kernel,
            convolution.step,
            convolution.padding,
            groups=convolution.groups,
            bias=form.fused,
        )
        self.bn = None if form.fused else nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act = activation_module(form.activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H / stride, W / stride)."""
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        out: Tensor = self.act(x)
        return out


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution, with an optional residual connection."""

    def __init__(self, cv1: Conv, cv2: Conv, *, shortcut: bool) -> None:
        super().__init__()
        self.cv1, self.cv2 = cv1, cv2
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W); with the connection both are the same."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Cross-stage partial block: three convolutions, and bottlenecks between the first and the third."""

    def __init__(self, cv1: Conv, cv2: Conv, cv3: Conv, bottlenecks: list[Bottleneck]) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = cv1, cv2, cv3
        self.m = nn.Sequential(*bottlenecks)

    def forward(self, x: Tensor) -> Tensor:
        """The bottleneck branch comes first in the concatenation."""
        out: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), dim=1))
        return out


class SPP(nn.Module):
    """Spatial pyramid pooling (He et al. 2014, arXiv:1406.4729), generation v5."""

    def __init__(self, cv1: Conv, cv2: Conv, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.cv1, self.cv2 = cv1, cv2
        self.m = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        y = self.cv1(x)
        out: Tensor = self.cv2(torch.cat([y, *(pool(y) for pool in self.m)], dim=1))
        return out


class SPPF(nn.Module):
    """SPP with one pool applied three times, generation v6; with kernel 5 equal to SPP(5, 9, 13)."""

    def __init__(self, cv1: Conv, cv2: Conv, kernel: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = cv1, cv2
        self.m = nn.MaxPool2d(kernel, stride=1, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        y0 = self.cv1(x)
        y1 = self.m(y0)
        y2 = self.m(y1)
        out: Tensor = self.cv2(torch.cat((y0, y1, y2, self.m(y2)), dim=1))
        return out


class Focus(nn.Module):
    """Space-to-depth by 2, then a convolution: the stem of generation v5."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H / 2, W / 2)."""
        even_rows, odd_rows = x[..., ::2, :], x[..., 1::2, :]
        blocks = (even_rows[..., ::2], odd_rows[..., ::2], even_rows[..., 1::2], odd_rows[..., 1::2])
        out: Tensor = self.conv(torch.cat(blocks, dim=1))
        return out


class Concat(nn.Module):
    """Channel concatenation, in the order given."""

    def forward(self, xs: list[Tensor]) -> Tensor:
        """Tensors of equal (B, *, H, W) to one."""
        return torch.cat(xs, dim=1)
