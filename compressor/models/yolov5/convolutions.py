"""Every convolution of an architecture, told from its layer table alone: nothing is built, and torch is not needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from compressor.models.yolov5.architecture import Architecture, Row
from compressor.models.yolov5.layer_arguments import upsampling
from compressor.recipe.targets import Role


@dataclass(frozen=True)
class Convolution:
    """One convolution of a network.

    Attributes:
        name: module name, such as `model.2.cv1.conv`.
        role: stem is layer 0, detect the three or four output convolutions, neck the rest of the head.
        types: what it is and the blocks around it, such as `("Conv2d", "Conv", "C3")`.
        shape: (C_out, C_in, kH, kW) of its weight; C_in is per channel group.
        stride: input pixels of the network per output pixel of the convolution.
    """

    name: str
    role: Role
    types: tuple[str, ...]
    shape: tuple[int, int, int, int]
    stride: int

    @property
    def weights(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def kernel(self) -> str:
        """Height and width, such as `3x3`."""
        return f"{self.shape[2]}x{self.shape[3]}"

    def macs(self, image_size: int) -> int:
        """Multiply-accumulates of its weights for one square image; `image_size` in pixels, a multiple of `stride`."""
        return self.weights * (image_size // self.stride) ** 2


@dataclass(frozen=True)
class _Block:
    """Where convolutions are being listed: a module name, its role, the blocks around it."""

    name: str
    role: Role
    types: tuple[str, ...]

    def conv(self, name: str, c_in: int, c_out: int, stride: int, kernel: int = 1, groups: int = 1) -> Convolution:
        """The convolution inside a Conv block named `name` below this block."""
        path = f"{self.name}.{name}.conv" if name else f"{self.name}.conv"
        types = ("Conv2d", "Conv", *(kind for kind in self.types if kind != "Conv"))
        return Convolution(path, self.role, types, (c_out, c_in // groups, kernel, kernel), stride)


def convolutions_of(architecture: Architecture) -> tuple[Convolution, ...]:
    """Every convolution in the order of the network's modules; `build` makes exactly these."""
    found: list[Convolution] = []
    channels: list[int] = []
    strides: list[int] = []
    for i, row in enumerate(architecture.rows):
        c_in = [channels[source] if channels else 3 for source in row.sources]
        stride_in = [strides[source] if strides else 1 for source in row.sources]
        block = _Block(f"model.{i}", _role(i, architecture), (row.kind,))
        found += _in_row(architecture, row, block, c_in, stride_in)
        c_out, stride = _output(architecture, row, c_in, stride_in[0])
        channels.append(c_out)
        strides.append(stride)
    return tuple(found)


def _in_row(
    architecture: Architecture, row: Row, block: _Block, c_in: list[int], stride_in: list[int]
) -> Iterator[Convolution]:
    c1, stride = c_in[0], stride_in[0]
    match row.kind:
        case "Conv":
            kernel, step, groups = (row.args[i] if i < len(row.args) else 1 for i in (1, 2, 4))
            yield block.conv("", c1, architecture.channels(row.args[0]), stride * step, kernel, groups)
        case "C3":
            yield from _c3(block, c1, architecture.channels(row.args[0]), stride, architecture.repeats(row.repeats))
        case "SPP" | "SPPF":
            branches = 4 if row.kind == "SPPF" else 1 + len(row.args[1] if len(row.args) > 1 else (5, 9, 13))
            yield block.conv("cv1", c1, c1 // 2, stride)
            yield block.conv("cv2", c1 // 2 * branches, architecture.channels(row.args[0]), stride)
        case "Focus":
            kernel = row.args[1] if len(row.args) > 1 else 1
            yield block.conv("conv", 4 * c1, architecture.channels(row.args[0]), stride * 2, kernel)
        case "Detect":
            outputs = len(architecture.anchors[0]) * (architecture.nc + 5)
            for level, (c, level_stride) in enumerate(zip(c_in, stride_in, strict=True)):
                name, types = f"{block.name}.m.{level}", ("Conv2d", "Detect")
                yield Convolution(name, block.role, types, (outputs, c, 1, 1), level_stride)
        case "Concat" | "Upsample":
            return
        case _:
            assert_never(row.kind)


def _c3(block: _Block, c_in: int, c_out: int, stride: int, repeats: int) -> Iterator[Convolution]:
    hidden = c_out // 2
    yield block.conv("cv1", c_in, hidden, stride)
    yield block.conv("cv2", c_in, hidden, stride)
    yield block.conv("cv3", 2 * hidden, c_out, stride)
    inner = _Block(block.name, block.role, ("Bottleneck", *block.types))
    for i in range(repeats):
        yield inner.conv(f"m.{i}.cv1", hidden, hidden, stride)
        yield inner.conv(f"m.{i}.cv2", hidden, hidden, stride, kernel=3)


def _output(architecture: Architecture, row: Row, c_in: list[int], stride: int) -> tuple[int, int]:
    """Output channels and stride of a row."""
    match row.kind:
        case "Conv":
            return architecture.channels(row.args[0]), stride * (row.args[2] if len(row.args) > 2 else 1)
        case "C3" | "SPP" | "SPPF":
            return architecture.channels(row.args[0]), stride
        case "Focus":
            return architecture.channels(row.args[0]), stride * 2
        case "Concat":
            return sum(c_in), stride
        case "Upsample":
            return c_in[0], stride // upsampling(row.args).scale
        case "Detect":
            return 0, stride
        case _:
            assert_never(row.kind)


def _role(index: int, architecture: Architecture) -> Role:
    if index == 0:
        return "stem"
    if index == len(architecture.rows) - 1:
        return "detect"
    return "backbone" if index < len(architecture.backbone) else "neck"
