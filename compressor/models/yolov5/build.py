"""An architecture becomes a network: plain constructor calls per kind of layer, with the widths of `convolutions`."""

from __future__ import annotations

from typing import assert_never

from torch import nn

from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import Architecture
from compressor.models.yolov5.blocks import C3, SPP, SPPF, Bottleneck, Concat, Conv, ConvForm, Focus
from compressor.models.yolov5.convolutions import LayerShape, layer_shapes
from compressor.models.yolov5.detect import Detect
from compressor.models.yolov5.layer_arguments import spp_kernels, sppf_kernel, upsampling


def build(architecture: Architecture, names: tuple[str, ...] | None = None, *, fused: bool = False) -> Detector:
    """A freshly initialised network, in training mode, of just the convolutions that `convolutions_of` lists.

    Args:
        architecture: what to build.
        names: class names; `0`, `1`, ... when not given.
        fused: build the form without BatchNorm, ready to take a fused state dict.

    Raises:
        ValueError: a row's arguments make no layer, or its widths do not go together.
    """
    form = ConvForm(fused, architecture.activation)
    shapes = layer_shapes(architecture)
    layers = [_layer(architecture, shape, form) for shape in shapes]
    head = layers[-1]
    if not isinstance(head, Detect):
        raise ValueError("the last layer is not Detect")
    head.initialise_biases()
    strides = tuple(source.stride for source in shapes[-1].inputs)
    names = names or tuple(map(str, range(architecture.nc)))
    return Detector("yolov5", architecture, names, layers, architecture.sources, strides)


def _layer(architecture: Architecture, shape: LayerShape, form: ConvForm) -> nn.Module:
    """The modules of one layer; each Conv takes its channels and geometry from its convolution."""
    row = shape.row
    convs = [Conv(convolution, form) for convolution in shape.convolutions if row.kind != "Detect"]
    match row.kind:
        case "Conv":
            return convs[0]
        case "C3":
            cv1, cv2, cv3, *inner = convs
            pairs = zip(inner[::2], inner[1::2], strict=True)
            return C3(cv1, cv2, cv3, [Bottleneck(*pair, shortcut=row.shortcut) for pair in pairs])
        case "SPP":
            cv1, cv2 = convs
            return SPP(cv1, cv2, spp_kernels(row.args))
        case "SPPF":
            cv1, cv2 = convs
            return SPPF(cv1, cv2, sppf_kernel(row.args))
        case "Focus":
            return Focus(convs[0])
        case "Concat":
            return Concat()
        case "Upsample":
            how = upsampling(row.args)
            return nn.Upsample(scale_factor=how.scale, mode=how.mode, align_corners=how.align_corners)
        case "Detect":
            keep_anchor_grid = architecture.generation == "v5"
            return Detect(architecture.nc, architecture.anchors, shape.convolutions, keep_anchor_grid=keep_anchor_grid)
        case _:
            assert_never(row.kind)
