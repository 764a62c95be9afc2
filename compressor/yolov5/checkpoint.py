"""Official and custom YOLOv5 checkpoints become models, without running anything they contain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.errors import CheckpointError, CompressorError, Diagnostic
from compressor.yolov5.architecture import Anchors, architecture_from_yaml
from compressor.yolov5.assemble import ANCHOR_GRID, check_fit, empty_network, fill_network, misfit
from compressor.yolov5.blocks import BN_EPS
from compressor.yolov5.bounds import check_anchor_shape, check_classes
from compressor.yolov5.build import YOLOv5
from compressor.yolov5.containers import Container, ContainerKind, open_container
from compressor.yolov5.pickles import damaged, unsupported
from compressor.yolov5.references import Inert, StoredTensor

Dtype = Literal["float16", "bfloat16", "float32", "float64"]

_ROOTS = ("models.yolo.Model", "models.yolo.DetectionModel")
_MAX_NODES = 50_000  # YOLOv5x6 has about 3,000 modules and tensors; a module that contains itself would have no end
_MAX_DEPTH = 50
_SPARE_BYTES = 64 * 2**20  # of storages, beside the tensors in them


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        model: the network in float32 and evaluation mode, without gradients; fused exactly if the file's is.
        dtype: type of the weights in the file; the most frequent one where they differ.
        container: layout of the file.
        weights: which of the two networks of a training checkpoint was taken: `ema` where there is one.
        pickled_class: class name in the file, such as `models.yolo.DetectionModel`.
        epoch: last epoch; -1 in a stripped file, None where it is not stated.
        date: when it was written, as the file states it; None where it is not stated.
        has_optimizer: whether the file also holds the optimiser, as it does until training ends.
    """

    model: YOLOv5
    dtype: Dtype
    container: ContainerKind
    weights: Literal["ema", "model"]
    pickled_class: str
    epoch: int | None
    date: str | None
    has_optimizer: bool


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pt` file of the releases v4.0 to v7.0, whatever its layout, its number type and its class count.

    Raises:
        CheckpointError: W301 not found; W302 not a checkpoint, or damaged; W303 it refers to what no checkpoint needs;
            W304 a module or activation that is not supported; W305 tensors that do not fit the layer table;
            W306 weights that are not finite; W307 class names that do not fit; W311 a layer table without sense;
            W330 a network beyond all bounds; W331 anchors without sense.
    """
    try:
        with open_container(path) as container:
            return _checkpoint(container, path)
    except CompressorError:
        raise
    except OSError as fault:
        if fault.filename is None:  # it was opened, and then names a place that no file has
            raise damaged(str(path), f"{fault.strerror or fault}") from fault
        help_text = "name a .pt file, or a released model such as yolov5n.pt"
        message = f"the checkpoint cannot be opened: {fault.strerror or fault}"
        raise CheckpointError(Diagnostic("W301", message, str(path), help=help_text)) from fault
    except Exception as fault:  # a hostile file can provoke any fault at any depth; each means the same to the user
        raise damaged(str(path), f"{type(fault).__name__}: {str(fault)[:200]}") from fault


def _checkpoint(container: Container, path: Path) -> Checkpoint:
    contents = container.root
    if not isinstance(contents, dict) or not ("model" in contents or "ema" in contents):
        raise damaged(str(path), "it holds no model (a bare state dictionary lacks the layer table)")
    weights: Literal["ema", "model"] = "model" if contents.get("ema") is None else "ema"
    root = contents[weights]
    if not isinstance(root, Inert) or root.name not in _ROOTS:
        raise damaged(str(path), "its model is not a pickled YOLOv5 detection model")
    stored = _flatten(root, str(path))
    _check_total(stored, path)
    epoch, date = contents.get("epoch"), contents.get("date")
    return Checkpoint(
        model=_model(root, stored, container, str(path)),
        dtype=_weights_dtype(stored),
        container=container.kind,
        weights=weights,
        pickled_class=root.name,
        epoch=epoch if isinstance(epoch, int) else None,
        date=date if isinstance(date, str) else None,
        has_optimizer=contents.get("optimizer") is not None,
    )


def _flatten(root: Inert, path: str) -> dict[str, StoredTensor]:
    """The tensors of a module tree under their state-dict names, in state-dict order."""
    tensors: dict[str, StoredTensor] = {}
    visited = count()
    for prefix, module in _walk(root, "", visited, path):
        _check_module(module, prefix, path)
        temporary = module.state.get("_non_persistent_buffers_set", [])[:100]
        for name, tensor in chain(module.state["_parameters"].items(), module.state["_buffers"].items()):
            _check_visit(visited, name, prefix, path)
            if tensor is None or name in temporary:
                continue
            if not isinstance(tensor, StoredTensor) or f"{prefix}{name}" in tensors:
                raise damaged(path, f"{prefix}{name} is not one tensor")
            tensors[f"{prefix}{name}"] = tensor
    return tensors


def _walk(module: Inert, prefix: str, visited: Iterator[int], path: str) -> Iterator[tuple[str, Inert]]:
    """Every module with its dotted name, which ends in a dot, parents first."""
    yield prefix, module
    for name, child in module.state["_modules"].items():
        _check_visit(visited, name, prefix, path)
        if isinstance(child, Inert):
            yield from _walk(child, f"{prefix}{name}.", visited, path)
        elif child is not None:
            raise damaged(path, f"{prefix}{name} is not a module")


def _check_visit(visited: Iterator[int], name: Any, prefix: str, path: str) -> None:
    if next(visited) > _MAX_NODES or prefix.count(".") > _MAX_DEPTH:
        raise damaged(path, "its modules contain each other without end")
    if not isinstance(name, str) or len(name) > 100:
        raise damaged(path, f"a module or tensor below {prefix or 'the root'} has no proper name")


def _check_module(module: Inert, prefix: str, path: str) -> None:
    """Refuse what the tensors do not tell: another activation, another BatchNorm epsilon."""
    match module.name:
        case "models.common.Conv":
            activation = module.state["_modules"]["act"].name
            if activation != "torch.nn.modules.activation.SiLU":
                raise unsupported(path, f"the activation {activation.rpartition('.')[2]} of {prefix}act")
        case "torch.nn.modules.batchnorm.BatchNorm2d":
            eps = float(module.state["eps"])
            if eps != BN_EPS:
                raise unsupported(path, f"the BatchNorm epsilon {eps} of {prefix[:-1]} (YOLOv5 has {BN_EPS})")


def _check_total(stored: dict[str, StoredTensor], path: Path) -> None:
    """Refuse thousands of tensors that are all views of one large storage."""
    total = sum(tensor.numel * tensor.array.type.size_bytes for tensor in stored.values())
    if total > 4 * path.stat().st_size:
        raise damaged(str(path), "its tensors overlap and would unpack to far more than the file's size")
    storages = {tensor.array.key: tensor.array for tensor in stored.values()}
    held = sum(array.numel * array.type.size_bytes for array in storages.values())
    if held > 2 * total + _SPARE_BYTES:  # all of a storage is read for any part of it
        raise damaged(str(path), "its tensors are small parts of far larger storages")


def _weights_dtype(stored: dict[str, StoredTensor]) -> Dtype:
    sizes: Counter[Dtype] = Counter()
    for tensor in stored.values():
        match tensor.array.type.name:
            case "float16" | "bfloat16" | "float32" | "float64" as dtype:
                sizes[dtype] += tensor.numel
    return sizes.most_common(1)[0][0]


def _model(root: Inert, stored: dict[str, StoredTensor], container: Container, path: str) -> YOLOv5:
    """Build what the file's own layer table describes, without memory, then give it the file's tensors."""
    yaml = _plain({key: root.state["yaml"].get(key) for key in _YAML_KEYS}, count(), path)
    head = f"model.{len(yaml['backbone']) + len(yaml['head']) - 1}"
    _check_present(stored, (f"{head}.anchors", f"{head}.m.0.weight"), path)
    check_anchor_shape(stored[f"{head}.anchors"].shape, path)
    levels = container.array(stored[f"{head}.anchors"])
    channels = stored[f"{head}.m.0.weight"].shape[:1]
    nc = _class_count(root, yaml, channels[0] if channels else 0, levels.shape[1], path)
    check_classes(nc, path)
    names = _class_names(root.state.get("names"), nc, path)
    architecture = architecture_from_yaml(_without_missing(yaml), nc, _pairs(levels), path)
    model = empty_network(architecture, names, stored, path)
    check_fit(model, {name: tensor.shape for name, tensor in stored.items()}, path)
    strides = np.array(model.strides, dtype=np.float32).reshape(-1, 1, 1)
    model.architecture = replace(architecture, anchors=_pairs(levels * strides))
    kept = (name for name in model.state_dict() if not name.endswith(ANCHOR_GRID))
    return fill_network(model, {name: torch.from_numpy(container.array(stored[name])) for name in kept}, path)


_YAML_KEYS = ("nc", "depth_multiple", "width_multiple", "backbone", "head", "ch", "activation")


def _plain(value: Any, visited: Iterator[int], path: str, depth: int = 0) -> Any:
    """A copy of nested lists and dictionaries that is known to be finite."""
    if next(visited) > _MAX_NODES or depth > 10:
        raise damaged(path, "its layer table has no end")
    match value:
        case dict():
            return {key: _plain(item, visited, path, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, visited, path, depth + 1) for item in value]
        case None | str() | int() | float():
            return value
    raise damaged(path, "its layer table holds more than numbers and words")


def _without_missing(yaml: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in yaml.items() if value is not None}


def _class_count(root: Inert, yaml: dict[str, Any], channels: int, anchors_per_level: int, path: str) -> int:
    """The number of classes, by the first source that states it; it must agree with the output channels."""
    from_weights = channels // anchors_per_level - 5
    names = root.state.get("names")
    stated = (root.state.get("nc"), yaml["nc"], len(names) if isinstance(names, dict | list) else None, from_weights)
    nc: int = next(number for number in stated if isinstance(number, int))
    if nc < 1 or (nc + 5) * anchors_per_level != channels:
        message = f"the file states {nc} classes, but its detection layer has {channels} output channels"
        raise misfit(path, message)
    return nc


def _class_names(names: Any, nc: int, path: str) -> tuple[str, ...]:
    found = dict(enumerate(names)) if isinstance(names, list | tuple) else names
    if (
        not isinstance(found, dict)
        or set(found) != set(range(nc))
        or not all(isinstance(name, str | int | float) for name in found.values())
    ):
        count_text = len(found) if isinstance(found, dict) else "no"
        message = f"the file has {count_text} class names for its {nc} classes, numbered from 0"
        help_text = "set the model's `names` in YOLOv5 to one name per class and save it again"
        raise CheckpointError(Diagnostic("W307", message, path, help=help_text))
    return tuple(str(found[index]) for index in range(nc))


def _pairs(levels: NDArray[Any]) -> Anchors:
    """(levels, anchors, 2) as nested pairs of exact floats."""
    return tuple(tuple((float(width), float(height)) for width, height in level) for level in levels)


def _check_present(stored: dict[str, StoredTensor], names: tuple[str, ...], path: str) -> None:
    missing = [name for name in names if name not in stored]
    if missing:
        raise misfit(path, f"the file lacks {', '.join(missing)}")
