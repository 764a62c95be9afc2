"""An architecture becomes a network: plain constructor calls, one per kind of layer."""

from __future__ import annotations

from typing import assert_never

from torch import Tensor, nn

from compressor.models.yolov5.architecture import Architecture, Row
from compressor.models.yolov5.blocks import C3, SPP, SPPF, Concat, Conv, ConvForm, Focus
from compressor.models.yolov5.detect import Detect
from compressor.models.yolov5.layer_arguments import upsampling


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
        self._sources = tuple(row.sources for row in architecture.rows)
        self.kept_outputs = frozenset(
            index if index >= 0 else i + index
            for i, sources in enumerate(self._sources)
            for index in sources
            if index != -1
        )

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
        x: Tensor | list[Tensor] = images
        outputs: list[Tensor | None] = []
        for i, (layer, sources) in enumerate(zip(self.model, self._sources, strict=True)):
            if sources != (-1,):
                inputs = [x if index == -1 else outputs[index] for index in sources]
                x = inputs[0] if len(inputs) == 1 else inputs  # type: ignore[assignment]  # kept outputs are never None
            x = layer(x)
            outputs.append(x if i in self.kept_outputs else None)  # type: ignore[arg-type]  # only Detect returns a list
        return x  # type: ignore[return-value]  # the last layer is Detect

    def predict(self, images: Tensor) -> Tensor:
        """RGB images in [0, 1] to decoded boxes (B, rows, nc + 5) in input pixels; see `Detect.decode`."""
        return self.detect.decode(self(images))


def build(architecture: Architecture, names: tuple[str, ...] | None = None, *, fused: bool = False) -> YOLOv5:
    """A freshly initialised network, in training mode.

    Args:
        architecture: what to build.
        names: class names; `0`, `1`, ... when not given.
        fused: build the form without BatchNorm, ready to take a fused state dict.

    Raises:
        ValueError: a row's arguments make no layer.
    """
    layers: list[nn.Module] = []
    channels: list[int] = []
    strides: list[int] = []
    form = ConvForm(fused, architecture.activation)
    for row in architecture.rows:
        c_in = tuple(channels[index] if channels else 3 for index in row.sources)
        stride_in = tuple(strides[index] if strides else 1 for index in row.sources)
        layer, c_out, stride = _layer(architecture, row, c_in, stride_in, form)
        layers.append(layer)
        channels.append(c_out)
        strides.append(stride)
    head = layers[-1]
    if not isinstance(head, Detect):
        raise ValueError("the last layer is not Detect")
    head.initialise_biases()
    level_strides = tuple(strides[index] for index in architecture.rows[-1].sources)
    return YOLOv5(architecture, names or tuple(str(i) for i in range(architecture.nc)), layers, level_strides)


def _layer(
    architecture: Architecture, row: Row, c_in: tuple[int, ...], stride_in: tuple[int, ...], form: ConvForm
) -> tuple[nn.Module, int, int]:
    """One layer, its output channels and its stride relative to the network's input."""
    c1, stride = c_in[0], stride_in[0]
    match row.kind:
        case "Conv":
            c2 = architecture.channels(row.args[0])
            conv = Conv(c1, c2, *row.args[1:5], form=form)
            return conv, c2, stride * conv.conv.stride[0]
        case "C3":
            c2 = architecture.channels(row.args[0])
            shortcut = bool(row.args[1]) if len(row.args) > 1 else True
            return C3(c1, c2, architecture.repeats(row.repeats), shortcut=shortcut, form=form), c2, stride
        case "SPP":
            c2 = architecture.channels(row.args[0])
            return SPP(c1, c2, *row.args[1:], form=form), c2, stride
        case "SPPF":
            c2 = architecture.channels(row.args[0])
            return SPPF(c1, c2, *row.args[1:], form=form), c2, stride
        case "Focus":
            c2 = architecture.channels(row.args[0])
            return Focus(c1, c2, *row.args[1:2], form=form), c2, stride * 2
        case "Concat":
            return Concat(), sum(c_in), stride
        case "Upsample":
            how = upsampling(row.args)
            if stride % how.scale:
                raise ValueError(f"a map of stride {stride} cannot be enlarged {how.scale} times")
            layer = nn.Upsample(scale_factor=how.scale, mode=how.mode, align_corners=how.align_corners)
            return layer, c1, stride // how.scale
        case "Detect":
            keep_anchor_grid = architecture.generation == "v5"
            anchors = architecture.anchors
            return Detect(architecture.nc, anchors, stride_in, c_in, keep_anchor_grid=keep_anchor_grid), 0, stride
        case _:
            assert_never(row.kind)
