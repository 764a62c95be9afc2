"""What a model's layers are given on calibration images."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compressor.models.detector import Detector

_CHUNK = 8  # images at a time


def on_device(model: Detector, device: torch.device) -> Detector:
    """The model itself where it is on the device already, else a copy there."""
    return model if next(model.parameters()).device == device else copy.deepcopy(model).to(device)


def input_norms(model: Detector, images: Tensor, device: torch.device) -> dict[str, Tensor]:
    """Root mean square of every input channel of every convolution, (C_in,) on the CPU, by module name.

    Args:
        model: in evaluation mode.
        images: (N, 3, H, W) in [0, 1].
        device: where to compute.
    """
    model = on_device(model, device)
    squares: dict[str, Tensor] = {}
    handles = [
        _sum_squares(module, squares, name) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)
    ]
    try:
        with torch.inference_mode():
            for start in range(0, len(images), _CHUNK):
                model(images[start : start + _CHUNK].to(device))
    finally:
        for handle in handles:
            handle.remove()
    return {name: (total / len(images)).sqrt().float().cpu() for name, total in squares.items()}


def _sum_squares(conv: nn.Conv2d, squares: dict[str, Tensor], name: str) -> RemovableHandle:
    """Adds up, over the images, the mean square of each input channel."""

    def hook(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        found = inputs[0].double().square().mean(dim=(2, 3)).sum(dim=0)
        squares[name] = squares[name] + found if name in squares else found

    return conv.register_forward_pre_hook(hook)
