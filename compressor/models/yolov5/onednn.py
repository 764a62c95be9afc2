"""A fused network as oneDNN runs it fastest on a CPU.

Each convolution and the activation behind it become one kernel, as TorchInductor makes of them, with channels last in
memory; the head decodes without copies. Outputs differ from the plain modules' by the order of sums alone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from compressor.models.detector import Detector
from compressor.models.yolov5.activation import Activation
from compressor.models.yolov5.blocks import Conv
from compressor.models.yolov5.detect import Detect, head_of

_Pointwise = tuple[str, list[float], str]
_NOTHING: _Pointwise = ("none", [], "")


def has_fused_kernels(dtype: torch.dtype) -> bool:
    """Whether this build of torch has them, and the processor their instructions for the number type.

    Builds for Apple's processors have none, and bfloat16 asks for AVX512.
    """
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def prepare_for_cpu(model: Detector) -> None:
    """Make a model ready for inference on a CPU and for nothing else, in place.

    Args:
        model: fused, in evaluation mode, on the CPU; float32 or bfloat16.
    """
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs know it for tensors only
    if has_fused_kernels(next(model.parameters()).dtype):
        _fuse_kernels(model, model.spec.activation)
    model.model[-1] = _InferenceHead(head_of(model))


def _fuse_kernels(model: nn.Module, activation: Activation) -> None:
    """Put modules with the same parameters and names in the place of the convolutions and of their activations."""
    pointwise = _pointwise(activation)
    for module in list(model.modules()):
        inside = pointwise if isinstance(module, Conv) and pointwise is not None else None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(module, name, FusedConv2d(child, inside or _NOTHING))
        if isinstance(module, Conv) and inside is not None:
            module.act = nn.Identity()


def _pointwise(activation: Activation) -> _Pointwise | None:
    """What the kernel calls an activation, its numbers and its algorithm; None where the module has to stay."""
    numbers = [setting for setting in activation.settings if isinstance(setting, float)]
    words = {"SiLU": "swish", "ReLU": "relu", "Hardswish": "hardswish", "Sigmoid": "sigmoid", "Tanh": "tanh"}
    words |= {"LeakyReLU": "leaky_relu", "Hardtanh": "hardtanh"}
    match activation.kind:
        case "ReLU6":
            return "hardtanh", [0.0, 6.0], ""
        case "GELU":
            return "gelu", [], str(activation.settings[0])
        case kind if kind in words:
            return words[kind], numbers, ""
    return None


class FusedConv2d(nn.Module):
    """A convolution with its bias and, where it has one, its activation in one kernel.

    Args:
        conv: whose weight and bias it takes.
        pointwise: the activation, as the kernel names it.
    """

    def __init__(self, conv: nn.Conv2d, pointwise: _Pointwise) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.pointwise = pointwise

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H', W')."""
        x = x.contiguous(memory_format=torch.channels_last)
        settings = (*self.geometry, *self.pointwise)
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *settings)
        return out


class _InferenceHead(Detect):
    """The head without a copy of its outputs.

    Args:
        head: whose convolutions and anchors it takes.
    """

    def __init__(self, head: Detect) -> None:
        nn.Module.__init__(self)  # Detect's own would make other convolutions
        self.nc, self.no, self.na = head.nc, head.no, head.na
        self.levels, self.strides, self.m = head.levels, head.strides, head.m
        self.register_buffer("anchors", head.anchors)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """See `Detect.forward`; the outputs lie in memory as the convolutions left them."""
        raw = []
        for conv, feature in zip(self.m, features, strict=True):
            batch, _, height, width = feature.shape
            raw.append(conv(feature).view(batch, self.na, self.no, height, width).permute(0, 1, 3, 4, 2))
        return raw

    def _scored(self, raw: list[Tensor]) -> Tensor:
        """See `Detect.detections`, whose numbers these are."""
        batch = len(raw[0])
        sizes = [self.na * logits.shape[2] * logits.shape[3] for logits in raw]
        ends = [sum(sizes[:level]) for level in range(len(sizes) + 1)]
        found = torch.empty(batch, ends[-1], self.no - 1)
        for level, (logits, (first, last)) in enumerate(zip(raw, pairwise(ends), strict=True)):
            target = found[:, first:last].view(*logits.shape[:4], self.no - 1)
            probabilities = logits.float().sigmoid()  # in the order of their memory, which is vector code
            target[..., 0:2], target[..., 2:4] = self.boxes(probabilities, level)
            torch.mul(probabilities[..., 5:], probabilities[..., 4:5], out=target[..., 4:])
        return found
