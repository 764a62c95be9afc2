"""Multiply-accumulates of convolution weights alone, by the product's counter of whole networks."""

from __future__ import annotations

from torch import nn

from compressor.models.detector import Detector
from compressor.models.yolov5.describe import count_macs


def macs_of_weights(model: Detector) -> dict[str, float]:
    """By convolution, for one image as large as the largest stride: without the one per output that a bias counts."""
    counted = count_macs(model)
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight[0].numel()
            found[name] = counted[name] * weights / (weights + (module.bias is not None))
    return found
