"""An architecture becomes a network: plain constructor calls per kind of layer, with the widths of `convolutions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from torch import Tensor, nn

from compressor.models.yolov5.architecture import Architecture
from compressor.models.yolov5.blocks import C3, SPP, SPPF, Bottleneck, Concat, Conv, ConvForm, Focus
from compressor.models.yolov5.convolutions import LayerShape, layer_shapes
from compressor.models.yolov5.detect import Detect
from compressor.models.yolov5.layer_arguments import spp_kernels, sppf_kernel, upsampling


class YOLOv5(nn.Module):
    """A YOLOv5 detector.

    Attributes:
        architecture: the data it was built from.
        names: class names, index is the class.
        fused: whether BatchNorm is folded into the convolutions.
        strides: per detection level, input pixels per grid cell.
        model: the layers; `model.<i>` is layer i of the architecture.
        kept_outputs: the layers whose outputs a later one than the next takes.
    """

    def __init__(
        self, architecture: Architecture, names: tuple[str, ...], layers: list[nn.Module], strides: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.names = names
        self.strides = strides
        self.model = nn.Sequential(*layers)
        rows = list(enumerate(architecture.rows))
        self.kept_outputs = frozenset(
            index if index >= 0 else i + index for i, row in rows for index in row.sources if index != -1
        )
        self._sources = [tuple(index if index >= 0 else i + index for index in row.sources) for i, row in rows]
        self._taken_after = [frozenset((i,)).union(*self._sources[i + 1 :]) for i, _ in rows]

    @property
    def fused(self) -> bool:
        """Whether BatchNorm is folded into the convolutions."""
        return not any(isinstance(module, nn.BatchNorm2d) for module in self.modules())

    @property
    def detect(self) -> Detect:
        """The head."""
        head = self.model[-1]
        assert isinstance(head, Detect)
        return head

    def forward(self, images: Tensor) -> list[Tensor]:
        """RGB images in [0, 1] to raw logits.

        Args:
            images: (B, 3, H, W); H and W multiples of the largest stride.

        Returns:
            One (B, na, H / stride, W / stride, nc + 5) tensor per level.
        """
        last = len(self._sources) - 1
        raw: list[Tensor] = self.advance({-1: images}, range(last + 1))[last]
        return raw

    def advance(self, outputs: Mapping[int, Any], layers: range) -> dict[int, Any]:
        """Run some layers; of all outputs only those that later layers take are held on to, and the last.

        Args:
            outputs: by layer, what those before the first of `layers` gave; -1 is the images.
            layers: consecutive ones.

        Returns:
            The same after the last of `layers`: a tensor each, and of Detect what `forward` returns.
        """
        held = dict(outputs)
        for i, layer in zip(layers, list(self.model)[layers.start : layers.stop], strict=True):
            inputs = [held[source] for source in self._sources[i]]
            held[i] = layer(inputs[0] if len(inputs) == 1 else inputs)
            held = {index: output for index, output in held.items() if index in self._taken_after[i]}
        return held

    def predict(self, images: Tensor) -> Tensor:
        """RGB images in [0, 1] to decoded boxes (B, rows, nc + 5) in input pixels; see `Detect.decode`."""
        return self.detect.decode(self(images))


def build(architecture: Architecture, names: tuple[str, ...] | None = None, *, fused: bool = False) -> YOLOv5:
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
    return YOLOv5(architecture, names or tuple(str(i) for i in range(architecture.nc)), layers, strides)


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
