"""A network of a stranger's layer table is run once, on a small image; each step is counted before it is computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from compressor.errors import first_line, ran_out_of_memory
from compressor.models.detector import Detector
from compressor.models.limits import beyond
from compressor.models.yolov5.bounds import MOST_MAP_BYTES, MOST_OPERATIONS, no_network

_SIDE = 640  # pixels of the image that bounds are given for
_STEPS = (2, 3)  # largest strides in height and width: what fits only even numbers of them does not fit both
_FLOAT_BYTES = 4
_PER_ELEMENT = 16  # writing and reading an element takes about as long as so many multiply-accumulates


def try_out(model: Detector, path: str) -> None:
    """Run the network once: sizes that do not go together only show then.

    Args:
        model: with its tensors, in evaluation mode.
        path: the file, for messages.

    Raises:
        CheckpointError: W311 it does not run, or its levels have other strides than its layer table says; W330 it
            takes more memory or time than any that is read.
    """
    height, width = (steps * max(model.strides) for steps in _STEPS)
    budget = _Budget(model, height * width, path)
    hooks = budget.hooks()
    try:
        with torch.inference_mode():
            raw = model(torch.zeros(1, 3, height, width))
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if ran_out_of_memory(error):
            raise
        raise no_network(first_line(error), path) from error
    finally:
        for hook in hooks:
            hook.remove()
    for level, (output, stride) in enumerate(zip(raw, model.strides, strict=True)):
        rows, columns = output.shape[2:4]
        if (rows * stride, columns * stride) != (height, width):
            message = f"level {level} gives {rows} x {columns} cells of an image of {height} x {width} px"
            raise no_network(f"{message}, which its stride of {stride} does not", path)


class _Budget:
    """Counts what a pass holds and computes; called by hooks before each step takes its memory.

    Args:
        model: the network.
        pixels: of the image it is run on; the bounds are those of 640 x 640.
        path: the file, for messages.
    """

    def __init__(self, model: Detector, pixels: int, path: str) -> None:
        self.model, self.path = model, path
        self.scale = _SIDE**2 / pixels
        self.held = 0  # elements of the maps that later layers take
        self.operations = 0.0

    def hooks(self) -> list[Any]:
        """On every step, before it; and on every layer whose map is held, after it."""
        steps = [(name, module) for name, module in self.model.named_modules() if not list(module.children())]
        before = [module.register_forward_pre_hook(self._before(name)) for name, module in steps]
        kept = [layer for index, layer in enumerate(self.model.model) if index in self.model.spec.kept_outputs]
        return [*before, *(layer.register_forward_hook(self._after) for layer in kept)]

    def _before(self, name: str) -> Any:
        def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            elements, each = _output(module, inputs[0])
            size_bytes = (self.held + elements) * _FLOAT_BYTES * self.scale
            if size_bytes > MOST_MAP_BYTES:
                message = f"at {name} its feature maps would take {size_bytes / 2**30:,.1f} GiB for an image of 640 px"
                raise beyond(f"{message}, and at most {MOST_MAP_BYTES / 2**30:g} are given", self.path)
            self.operations += elements * (each + _PER_ELEMENT) * self.scale
            if self.operations > MOST_OPERATIONS:
                message = f"an image of 640 px would take more than {MOST_OPERATIONS / 1e9:,.0f} billion operations"
                raise beyond(message, self.path)

        return count

    def _after(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        self.held += output.numel()


def _output(module: nn.Module, given: Tensor | list[Tensor]) -> tuple[int, float]:
    """Elements that a step gives, and multiply-accumulates of each."""
    if isinstance(given, list):
        return sum(each.numel() for each in given), 0
    match module:
        case nn.Conv2d():
            each = module.weight[0].numel()
            return len(given) * module.out_channels * _positions(module, given), each
        case nn.MaxPool2d():
            kernel = _pair(module.kernel_size)
            return len(given) * given.shape[1] * _positions(module, given), 4 * kernel[0] * kernel[1]  # no vector code
        case nn.Upsample():
            factor = _pair(module.scale_factor)
            return int(given.numel() * factor[0] * factor[1]), 0
        case _:
            return given.numel(), 0


def _positions(module: nn.Conv2d | nn.MaxPool2d, given: Tensor) -> int:
    """Rows times columns of what a convolution or pooling gives (torch's formula)."""
    settings = (module.kernel_size, module.stride, module.padding, module.dilation)
    sides = []
    for axis in range(2):
        kernel, stride, padding, dilation = (int(_pair(setting)[axis]) for setting in settings)
        sides.append((given.shape[2 + axis] + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
    return max(0, sides[0]) * max(0, sides[1])


def _pair(setting: Any) -> tuple[Any, Any]:
    return tuple(setting) if isinstance(setting, tuple | list) else (setting, setting)
