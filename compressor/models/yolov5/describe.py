"""What upstream prints of a model: layers, parameters, GFLOPs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from compressor.models.detector import Detector
from compressor.models.strides import image_step
from compressor.models.yolov5.blocks import C3, SPP, SPPF, Bottleneck, Concat, Conv, Focus
from compressor.models.yolov5.detect import Detect, head_of
from compressor.results.network import ModelSummary

_COUNTED = (nn.Conv2d, nn.BatchNorm2d)
_SIDE = 640  # pixels


def summarise(model: Detector) -> ModelSummary:
    """Layers, parameters and GFLOPs as the releases v5.0 to v6.1 print them for released weights."""
    parameters = list(model.parameters())
    return ModelSummary(
        name=model.spec.name,
        generation=model.spec.generation,
        nc=model.spec.nc,
        fused=model.fused,
        layers=count_layers(model),
        parameters=sum(p.numel() for p in parameters),
        gradients=sum(p.numel() for p in parameters if p.requires_grad),
        gflops=count_gflops(model),
        strides=model.strides,
    )


def count_layers(model: Detector, *, shared_activation: bool = False) -> int:
    """Size of upstream's module tree for this network.

    Upstream's tree differs from ours in details (activation objects are shared from v7.0 on), so its rule is applied
    kind by kind.

    Args:
        model: fused or not.
        shared_activation: count the SiLU objects once, as v7.0 does for a model it builds itself.
    """
    objects = [type(module) for module in model.modules()]
    convs, unfused_convs = objects.count(Conv), objects.count(nn.BatchNorm2d)
    blocks = sum(objects.count(kind) for kind in _COUNTED_ONCE)
    root, detect_convs = 1, len(head_of(model).m)
    conv_objects = 3 * convs + unfused_convs  # block, convolution and activation; and BatchNorm
    total = root + blocks + conv_objects + detect_convs
    return total - (convs - 1) if shared_activation else total


_OF_TORCH = (nn.Sequential, nn.ModuleList, nn.MaxPool2d, nn.Upsample)
_COUNTED_ONCE = (*_OF_TORCH, Concat, Bottleneck, C3, SPP, SPPF, Focus, Detect)


def count_gflops(model: Detector) -> float:
    """Giga floating-point operations (2 x MACs) of one image of 640 x 640 px, as `count_macs` counts."""
    return 2 * sum(count_macs(model).values()) / 1e9 * (_SIDE / image_step(model.strides)) ** 2


def count_macs(model: Detector) -> dict[str, float]:
    """Multiply-accumulates per module name for one square image as large as the largest stride (at least 32 px).

    The rule is that of the operation counter that upstream used up to 2022 (thop 0.0.31): a biased convolution counts
    one more per output, BatchNorm two per input, an upsampling none.
    The image is really computed: torch's meta device, which computes nothing, takes seconds to be set up.
    """
    macs: dict[str, float] = {}
    counted = [(name, module) for name, module in model.named_modules() if isinstance(module, _COUNTED)]
    hooks = [module.register_forward_hook(_counter(macs, name)) for name, module in counted]
    training = {module: module.training for module in model.modules()}
    weight = next(model.parameters())
    side = image_step(model.strides)
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, side, side, device=weight.device, dtype=weight.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    return macs


def _counter(macs: dict[str, float], name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        match module:
            case nn.Conv2d():
                per_output = module.weight[0].numel() + (module.bias is not None)
                macs[name] = output.numel() * per_output
            case nn.BatchNorm2d():
                macs[name] = 2 * inputs[0].numel()

    return count
