"""BatchNorm behind a convolution: which it is, by what it multiplies, and what the two are as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fused_weight_and_bias(weight: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The convolution that equals `bn(conv(x))` in evaluation mode.

    W' = W gamma / sqrt(var + eps) and b' = beta - gamma mean / sqrt(var + eps), per output channel.

    Args:
        weight: (C_out, C_in, kH, kW), of a convolution without bias.
        bn: BatchNorm over C_out channels.

    Returns:
        Weight of the same shape and bias (C_out,).
    """
    assert bn.running_mean is not None and bn.running_var is not None  # as every BatchNorm of our networks keeps them
    scale = batchnorm_scale(bn)
    bias = bn.bias - bn.weight * bn.running_mean / torch.sqrt(bn.running_var + bn.eps)
    return weight * scale.view(-1, 1, 1, 1), bias


def batchnorm_behind(convolution: str) -> str:
    """Module name of the BatchNorm that follows a convolution of this name, where one does."""
    return f"{convolution.removesuffix('conv')}bn"


def batchnorm_scale(bn: nn.BatchNorm2d) -> Tensor:
    """By what folding multiplies each filter: gamma / sqrt(var + eps), (C_out,)."""
    assert bn.running_var is not None
    return bn.weight / torch.sqrt(bn.eps + bn.running_var)
