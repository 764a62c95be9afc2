"""From a layer table and named tensors to a network, for every kind of weights file, with the same checks."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from compressor.errors import CheckpointError, Diagnostic, first_line
from compressor.jit import compiled
from compressor.models.detector import Detector
from compressor.models.limits import MOST_WEIGHTS, beyond
from compressor.models.yolov5.architecture import Architecture
from compressor.models.yolov5.bounds import (
    LONGEST_NAME,
    check_anchors,
    check_architecture,
    check_strides,
    no_network,
)
from compressor.models.yolov5.build import build
from compressor.models.yolov5.convolutions import convolutions_of
from compressor.models.yolov5.detect import head_of
from compressor.models.yolov5.tryout import try_out

_INFINITY = np.float32(np.inf)
_MAKES_NO_NETWORK = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)

ANCHOR_GRID = ".anchor_grid"  # the anchors once more, in pixels; some releases round or cache it, so it is made again


def empty_network(architecture: Architecture, names: tuple[str, ...], tensors: Collection[str], path: str) -> Detector:
    """The network without memory for its tensors, so that a table of absurd sizes costs nothing.

    Args:
        architecture: the file's layer table.
        names: class names.
        tensors: names of the file's tensors; the network is fused where none is BatchNorm's.
        path: the file, for messages.

    Raises:
        CheckpointError: W307 a name that no file can hold; W311 the table makes no network; W330 it makes one that is
            larger than any that is read; W331 its anchors are not sizes.
    """
    unwritable = [name for name in names if name.encode("utf-8", "replace").decode() != name]
    if unwritable:
        message = f"the class name {unwritable[0]!a} holds a half of a character"
        raise CheckpointError(Diagnostic("W307", message, path, help="give the class another name in YOLOv5"))
    long = [name for name in names if len(name) > LONGEST_NAME]
    if long:
        message = f"a class name has {len(long[0]):,} letters, and at most {LONGEST_NAME:,} are read"
        raise CheckpointError(Diagnostic("W307", message, path, help="give the class another name in YOLOv5"))
    check_architecture(architecture, path)
    try:
        weights = sum(convolution.weights for convolution in convolutions_of(architecture))
        if weights > MOST_WEIGHTS:
            raise beyond(f"its layer table asks for {weights:.3g} weights, and at most {MOST_WEIGHTS:,} are read", path)
        with torch.device("meta"), _Uninitialised(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of tensors without elements, which are refused next
            model = build(architecture, names, fused=not any(name.endswith(".bn.weight") for name in tensors))
        for name, value in model.named_parameters():
            if not value.numel():
                raise ValueError(f"{name} would be {list(value.shape)}")
    except _MAKES_NO_NETWORK as error:
        raise no_network(first_line(error), path) from error
    check_strides(model.strides, path)
    return model


class _Uninitialised(TorchFunctionMode):
    """Layers without memory are given no random weights, which would take a third of the time of building them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """As any other, but for the functions of `torch.nn.init`, which give back their tensor."""
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))


def check_fit(model: Detector, shapes: Mapping[str, tuple[int, ...]], path: str) -> None:
    """Names and shapes must be exactly those of the network that the layer table describes.

    Raises:
        CheckpointError: W305, with the first few that differ.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    errors = [
        f"{name} is {_shape(shapes.get(name))} in the file and {_shape(expected.get(name))} by its layer table"
        for name in [*expected, *(name for name in shapes if name not in expected)]
        if expected.get(name) != shapes.get(name) and not name.endswith(ANCHOR_GRID)
    ]
    if errors:
        more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
        raise misfit(path, "; ".join(errors[:3]) + more)


def fill_network(model: Detector, state: dict[str, Tensor], path: str) -> Detector:
    """Give an empty network its tensors: float32, evaluation mode, frozen.

    Args:
        model: as `empty_network` made it.
        state: tensors that `check_fit` found right, of any number type.
        path: the file, for messages.

    Raises:
        CheckpointError: W306 a tensor holds values that are not finite, or a variance below 0; W311 the network cannot
            run; W330 it takes more memory or time than any that is read; W331 its anchors are not sizes.
    """
    wanted = {}
    for name, expected in model.state_dict().items():
        if not name.endswith(ANCHOR_GRID):
            wanted[name] = state[name].to(expected.dtype)
            _check_finite(name, wanted[name], path)
            if name.endswith(".running_var") and bool((wanted[name] < 0).any()):
                message = f"{name} holds {int((wanted[name] < 0).sum()):,} values below 0, which no variance is"
                raise CheckpointError(Diagnostic("W306", message, path, help="the file is damaged; fetch it again"))
        else:
            anchors = state[f"{name.removesuffix(ANCHOR_GRID)}.anchors"].float()
            pixels = anchors * torch.tensor(model.strides, dtype=torch.float32).view(-1, 1, 1)
            wanted[name] = pixels.view(len(pixels), 1, -1, 1, 1, 2)
    model.load_state_dict(wanted, assign=True)
    model.requires_grad_(False).eval()
    pixels = head_of(model).anchors * torch.tensor(model.strides, dtype=torch.float32).view(-1, 1, 1)
    check_anchors(tuple(tuple((width, height) for width, height in level) for level in pixels.tolist()), path)
    if model.spec.stock_size is None:
        try_out(model, path)
    return model


def misfit(path: str, message: str) -> CheckpointError:
    """W305: the tensors are not those of the network described."""
    help_text = "the checkpoint was altered after training; save it again from the YOLOv5 model it belongs to"
    return CheckpointError(Diagnostic("W305", message, path, help=help_text))


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))


def _check_finite(name: str, tensor: Tensor, path: str) -> None:
    bad = _not_finite(tensor.contiguous().view(-1).numpy()) if tensor.dtype == torch.float32 else 0
    if bad:
        message = f"{name} holds {bad:,} values that are infinite or not a number"
        help_text = "the training diverged, or the file is damaged; take an earlier checkpoint"
        raise CheckpointError(Diagnostic("W306", message, path, help=help_text))


@compiled
def _not_finite(values: NDArray[np.float32]) -> int:
    count = 0
    for i in range(values.size):
        count += not abs(values[i]) < _INFINITY
    return count
