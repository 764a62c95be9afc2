"""One layer alone: changed and solved again while the rest of the network stays dense, and put back as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compressor.models.batchnorm import batchnorm_behind
from compressor.models.detector import Detector
from compressor.modifiers.repair.lockstep import Meeting, objectness
from compressor.modifiers.repair.repair import solve_layer
from compressor.plan.layers import Layer
from compressor.recipe.modifiers import Repair

_CHUNK = 8  # images at a time
_LEAST_SQUARES = Repair(type="repair", method="least_squares")


class Alone:
    """Repairs single layers of a model that is dense otherwise.

    Args:
        model: in evaluation mode.
        images: (N, 3, H, W) in [0, 1], where the model is.
    """

    def __init__(self, model: Detector, images: Tensor) -> None:
        self.model = model
        self.images = images
        self.seen = objectness(model, images)

    def look(self, layer: Layer) -> Meeting:
        """What the layer sees and gives while it is dense; to be asked for before it is changed."""
        conv, batchnorm = _modules(self.model, layer)
        inputs, outputs = [], []

        def keep(_module: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
            inputs.append(given[0])
            outputs.append(output.clone())  # what follows works in place

        handle = conv.register_forward_hook(keep)
        try:
            with torch.inference_mode():
                for start in range(0, len(self.images), _CHUNK):
                    self.model(self.images[start : start + _CHUNK])
        finally:
            handle.remove()
        mean = None if batchnorm is None or batchnorm.running_mean is None else batchnorm.running_mean.clone()
        return Meeting(layer.name, conv, batchnorm, mean, conv.weight.clone(), torch.cat(inputs), torch.cat(outputs))

    def solve(self, meeting: Meeting) -> None:
        """Solve the weights that are left by least squares, as a repair does."""
        with torch.inference_mode():
            solve_layer(meeting, _LEAST_SQUARES, None, self.seen, torch.Generator().manual_seed(0))


@contextmanager
def put_back(model: Detector, layer: Layer) -> Iterator[None]:
    """Whatever is done to a layer inside the block is undone at its end."""
    modules = [module for module in _modules(model, layer) if module is not None]
    states = [copy.deepcopy(module.state_dict()) for module in modules]
    try:
        yield
    finally:
        for module, state in zip(modules, states, strict=True):
            module.load_state_dict(state)


def _modules(model: Detector, layer: Layer) -> tuple[nn.Conv2d, nn.BatchNorm2d | None]:
    modules = dict(model.named_modules())
    conv, batchnorm = modules[layer.name], modules.get(batchnorm_behind(layer.name))
    assert isinstance(conv, nn.Conv2d)
    return conv, batchnorm if isinstance(batchnorm, nn.BatchNorm2d) else None
