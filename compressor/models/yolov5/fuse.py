"""Folding BatchNorm into the convolution before it."""

from __future__ import annotations

import torch
from torch import nn

from compressor.models.batchnorm import fused_weight_and_bias
from compressor.models.detector import Detector
from compressor.models.yolov5.blocks import Conv


def fuse(model: Detector) -> Detector:
    """Fold every BatchNorm of the model into its convolution, in place. A fused model stays as it is.

    Zeros of the weights stay zeros: a weight is only multiplied by its channel's scale.
    """
    for module in model.modules():
        if isinstance(module, Conv) and module.bn is not None:
            with torch.no_grad():
                weight, bias = fused_weight_and_bias(module.conv.weight, module.bn)
            module.conv.weight = nn.Parameter(weight, requires_grad=module.conv.weight.requires_grad)
            module.conv.bias = nn.Parameter(bias, requires_grad=module.conv.weight.requires_grad)
            module.bn = None
    return model
