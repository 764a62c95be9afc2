"""From a layer table and named tensors to a network, for every kind of weights file, with the same checks."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.compiled import compiled
from compressor.errors import CheckpointError, Diagnostic
from compressor.yolov5.architecture import Architecture
from compressor.yolov5.build import YOLOv5, build
from compressor.yolov5.convolutions import convolutions_of

_INFINITY = np.float32(np.inf)
_MAKES_NO_NETWORK = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)

ANCHOR_GRID = ".anchor_grid"  # the anchors once more, in pixels; some releases round or cache it, so it is made anew


def empty_network(architecture: Architecture, names: tuple[str, ...], tensors: Collection[str], path: str) -> YOLOv5:
    """The network without memory for its tensors, so that a table of absurd sizes costs nothing.

    Args:
        architecture: the file's layer table.
        names: class names.
        tensors: names of the file's tensors; the network is fused where none is BatchNorm's.
        path: the file, for messages.

    Raises:
        CheckpointError: W305 more bottlenecks than tensors; W307 a name that no file can hold; W311 the table makes no
            network.
    """
    unwritable = [name for name in names if name.encode("utf-8", "replace").decode() != name]
    if unwritable:
        message = f"the class name {unwritable[0]!a} holds a half of a character"
        raise CheckpointError(Diagnostic("W307", message, path, help="give the class another name in YOLOv5"))
    try:
        bottlenecks = sum(architecture.repeats(row.repeats) for row in architecture.rows if row.kind == "C3")
        if bottlenecks > len(tensors):
            raise misfit(path, f"its layer table asks for {bottlenecks:,} bottlenecks, more than it has tensors")
        for index, row in enumerate(architecture.rows):
            astray = [source for source in row.sources if not (-max(index, 1) <= source < index)]
            if astray:
                raise ValueError(f"layer {index} takes its input from {astray[0]}, where there is none")
        convolutions_of(architecture)  # arguments that only torch would take
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of tensors without elements, which are refused next
            model = build(architecture, names, fused=not any(name.endswith(".bn.weight") for name in tensors))
        for name, value in model.named_parameters():
            if not value.numel():
                raise ValueError(f"{name} would be {list(value.shape)}")
        return model
    except _MAKES_NO_NETWORK as fault:
        raise _no_network(fault, path) from fault


def check_fit(model: YOLOv5, shapes: Mapping[str, tuple[int, ...]], path: str) -> None:
    """Names and shapes must be exactly those of the network that the layer table describes.

    Raises:
        CheckpointError: W305, with the first few that differ.
    """
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    faults = [
        f"{name} is {_shape(shapes.get(name))} in the file and {_shape(expected.get(name))} by its layer table"
        for name in [*expected, *(name for name in shapes if name not in expected)]
        if expected.get(name) != shapes.get(name) and not name.endswith(ANCHOR_GRID)
    ]
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise misfit(path, "; ".join(faults[:3]) + more)


def fill_network(model: YOLOv5, state: dict[str, Tensor], path: str) -> YOLOv5:
    """Give an empty network its tensors: float32, evaluation mode, frozen.

    Args:
        model: as `empty_network` made it.
        state: tensors that `check_fit` found right, of any number type.
        path: the file, for messages.

    Raises:
        CheckpointError: W306 a tensor holds values that are not finite, or a variance below 0; W311 the network cannot
            run.
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
    if model.architecture.stock_size is None:
        _try_out(model, path)
    return model


def _try_out(model: YOLOv5, path: str) -> None:
    """Run the network once: sizes that do not go together only show then."""
    side = 2 * max(model.strides)
    try:
        with torch.inference_mode():
            model(torch.zeros(1, 3, side, side))
    except _MAKES_NO_NETWORK as fault:
        raise _no_network(fault, path) from fault


def _no_network(fault: Exception, path: str) -> CheckpointError:
    message = f"its layer table makes no network: {str(fault)[:200]}"
    help_text = "re-export the checkpoint with a YOLOv5 detection model"
    return CheckpointError(Diagnostic("W311", message, path, help=help_text))


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
