"""Tensors by upstream's names, without the modules they stood in, become a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from compressor.errors import CheckpointError, Diagnostic
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import (
    Anchors,
    Architecture,
    Generation,
    architecture_from_yaml,
    stock_architecture,
    stock_sizes,
)
from compressor.models.yolov5.assemble import check_fit, empty_network, fill_network
from compressor.models.yolov5.blocks import BN_EPS
from compressor.models.yolov5.bounds import check_anchor_shape, check_classes
from compressor.models.yolov5.convolutions import convolutions_of
from compressor.models.yolov5.detect import head_of

_ENTRY = re.compile(r"(?:module\.|model\.|_orig_mod\.)*?(model\.\d{1,6}\..+)")


Shapes = Mapping[str, tuple[int, ...]]
Read = Callable[[str], Tensor]


def network_from_tensors(shapes: Shapes, read: Read, described: Mapping[str, Any], path: str) -> Detector:
    """The network that a state dict belongs to, with its weights.

    Args:
        shapes: of the tensors, by upstream's names; they are compared before any tensor but the anchors is read.
        read: a tensor by its name.
        described: `names` and `yaml` (upstream's model YAML) where the file has them; else classes are called by their
            number, and the layer table is the standard one with these shapes, whose activation is SiLU.
        path: the file, for messages.

    Raises:
        ValueError, KeyError: the tensors or names are not those of a YOLOv5 network.
        CheckpointError: W304 to W307, W311, W330, W331 as for any file; W309 no standard layer table fits.
    """
    architecture = _architecture_of(shapes, read, described.get("yaml") or {}, path)
    names = _names(described.get("names"), architecture.nc)
    if len(names) != architecture.nc:
        raise ValueError(f"{len(names)} class names for {architecture.nc} classes")
    empty = empty_network(architecture, names, shapes.keys(), path)
    check_fit(empty, shapes, path)
    model = fill_network(empty, {name: read(name) for name in shapes}, path)
    strides = torch.tensor(model.strides, dtype=torch.float32).view(-1, 1, 1)
    model.spec = replace(architecture, anchors=_nested(head_of(model).anchors * strides))
    return model


def assumed_of(model: Detector, described: Mapping[str, Any]) -> str:
    """What tensors alone do not tell of their network, and was taken; empty where the file has the layer table.

    Args:
        model: the network, as `network_from_tensors` made it.
        described: as it was given there.
    """
    if "backbone" in (described.get("yaml") or {}):
        return ""
    table = f"the standard layer table of {model.spec.name} with its shortcuts"
    return f"SiLU activations, {'' if model.fused else f'BatchNorm with eps {BN_EPS:g}, '}{table}"


def without_prefix(name: str) -> str:
    """A tensor's name as upstream's model has it: wrappers such as DistributedDataParallel put theirs in front."""
    entry = _ENTRY.fullmatch(name)
    return entry[1] if entry else name


def _architecture_of(shapes: Shapes, read: Read, yaml: dict[str, Any], path: str) -> Architecture:
    """From the layer tables, or else the standard one that has just these tensor shapes."""
    found = [re.fullmatch(r"model\.(\d{1,4})\.anchors", name) for name in shapes if name.endswith(".anchors")]
    if len(found) != 1 or found[0] is None:
        raise ValueError("a YOLOv5 state dict holds one entry named model.<last layer>.anchors")
    grid, head_name = shapes[found[0][0]], f"model.{found[0][1]}.m.0.weight"
    check_anchor_shape(grid, path)
    head = shapes.get(head_name, ())
    if len(head) != 4:
        raise ValueError(f"{head_name} is {list(head)[:8] if head_name in shapes else 'missing'}")
    nc = head[0] // grid[1] - 5
    check_classes(nc, path)
    anchors = _nested(read(found[0][0]))  # in grid units until the strides are known from the network
    if "backbone" in yaml:
        return architecture_from_yaml(yaml, nc, anchors, path)
    convolutions = {name: shape for name, shape in shapes.items() if name.endswith(".weight") and len(shape) == 4}
    generation: Generation = "v5" if "model.0.conv.conv.weight" in shapes else "v6"
    for table in _standard_tables(generation, shapes, len(anchors), nc):
        if _convolution_shapes(table) == convolutions:
            return replace(table, anchors=anchors)
    help_text = (
        "put upstream's model YAML, with its backbone and head, beside the tensors: under the key `yaml` of a "
        "safetensors file's metadata (as JSON), or of the dictionary that a .pt holds"
    )
    raise CheckpointError(Diagnostic("W309", "the tensors fit no stock YOLOv5 size", path, help=help_text))


def _convolution_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    return {f"{convolution.name}.weight": convolution.shape for convolution in convolutions_of(architecture)}


def _standard_tables(generation: Generation, shapes: Shapes, levels: int, nc: int) -> Iterator[Architecture]:
    """The stock sizes of so many feature maps, then their table with the depth and width that the tensors tell."""
    every = [stock_architecture(generation, size, nc) for size in stock_sizes(generation)]
    stock = [table for table in every if len(table.anchors) == levels]
    yield from stock
    for table in stock[:1]:
        stages = [(index, row.repeats) for index, row in enumerate(table.backbone) if row.kind == "C3"]
        depths = [_bottlenecks(shapes, index) for index, _ in stages]
        widest = shapes.get(f"model.{len(table.rows) - 1}.m.{levels - 1}.weight", (0, 0))[1]
        for depth in (*(each.depth_multiple for each in every), *(step / _FINEST for step in range(1, 4 * _FINEST))):
            scaled = replace(table, depth_multiple=depth, width_multiple=widest / _WIDEST)
            if widest and [scaled.repeats(repeats) for _, repeats in stages] == depths:
                yield scaled
                break


def _bottlenecks(shapes: Shapes, layer: int) -> int:
    return sum(name.startswith(f"model.{layer}.m.") and name.endswith(".cv1.conv.weight") for name in shapes)


_FINEST = 90  # depths apart by less give the same numbers of bottlenecks
_WIDEST = 1024  # channels of the last level before scaling


def _nested(anchors: Tensor) -> Anchors:
    return tuple(tuple((width, height) for width, height in level) for level in anchors.float().tolist())


def _names(named: Any, nc: int) -> tuple[str, ...]:
    """Class names from a list, or from YOLOv5's mapping of index to name; `0`, `1`, ... where the file has none."""
    if named is None:
        return tuple(str(index) for index in range(nc))
    names: list[Any] = list(named) if isinstance(named, list | tuple) else []
    if isinstance(named, dict):  # of JSON, whose keys are texts, or of a pickle
        names = [named.get(str(index), named.get(index)) for index in range(len(named))]
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("`names` is neither a list of names nor a mapping of class indices to names")
    return tuple(names)
