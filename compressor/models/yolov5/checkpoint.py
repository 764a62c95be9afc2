"""Official and custom YOLOv5 checkpoints become models, without running anything they contain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.errors import CheckpointError, CompressorError, Diagnostic
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import Anchors, architecture_from_yaml
from compressor.models.yolov5.assemble import ANCHOR_GRID, check_fit, empty_network, fill_network, misfit
from compressor.models.yolov5.attributes import check_modules
from compressor.models.yolov5.bounds import check_anchor_shape, check_classes
from compressor.models.yolov5.containers import Container, ContainerKind, open_container
from compressor.models.yolov5.module_tree import (
    MAX_NODES,
    Masked,
    Source,
    activation_of,
    masked_together,
    modules_of,
    tensors_of,
    unsupported_module,
    unwrapped,
)
from compressor.models.yolov5.pickles import damaged, unsupported
from compressor.models.yolov5.references import MODULES, Inert, StoredTensor, upstream_name
from compressor.models.yolov5.state_dict import assumed_of, network_from_tensors, without_prefix

Dtype = Literal["float16", "bfloat16", "float32", "float64"]

_STATE_DICTS = ("state_dict", "model_state_dict", "ema_state_dict")  # keys that other trainers use
_SPARE_BYTES = 64 * 2**20  # of storages, beside the tensors in them
_FEW = 64  # numbers of an attribute


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        model: the network in float32 and evaluation mode, without gradients; fused exactly if the file's is.
        dtype: type of the weights in the file; the most frequent one where they differ.
        container: layout of the file.
        weights: which of the two networks of a training checkpoint was taken: `ema` where there is one.
        pickled_class: class name in the file, such as `models.yolo.DetectionModel`; None of a state dict.
        epoch: last epoch; -1 in a stripped file, None where it is not stated.
        date: when it was written, as the file states it; None where it is not stated.
        has_optimizer: whether the file also holds the optimiser, as it does until training ends.
        passed_over: classes beside the network that are not known; nothing of them was read.
        assumed: what a state dict does not tell and was taken, see `assumed_of`; empty where the file tells all.
    """

    model: Detector
    dtype: Dtype
    container: ContainerKind
    weights: Literal["ema", "model"]
    pickled_class: str | None
    epoch: int | None
    date: str | None
    has_optimizer: bool
    passed_over: tuple[str, ...] = ()
    assumed: str = ""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pt` file of the releases v4.0 to v7.0, whatever its layout, its number type and its class count.

    It holds a checkpoint of training, a model alone, or the state dict of one.

    Raises:
        CheckpointError: W301 not found; W302 not a checkpoint, or damaged; W303 it refers to what would run something;
            W304 a module, or an attribute of one, that is not supported; W305 tensors that do not fit the layer table;
            W306 weights that are not finite; W307 class names that do not fit; W309 a state dict of no stock size;
            W311 a layer table without sense; W320 it calls an unknown function; W330 a network beyond all
            bounds; W331 anchors without sense.
    """
    try:
        with open_container(path) as container:
            return _checkpoint(container, path)
    except CompressorError:
        raise
    except OSError as error:
        if error.filename is None:  # it was opened, and then names a place that no file has
            raise damaged(str(path), f"{error.strerror or error}") from error
        help_text = "name a .pt file, or a released model such as yolov5n.pt"
        message = f"the checkpoint cannot be opened: {error.strerror or error}"
        raise CheckpointError(Diagnostic("W301", message, str(path), help=help_text)) from error
    except Exception as error:  # a hostile file can provoke any error at any depth; each means the same to the user
        raise damaged(str(path), f"{type(error).__name__}: {str(error)[:200]}") from error


def _checkpoint(container: Container, path: Path) -> Checkpoint:
    contents = container.root if isinstance(container.root, dict) else {"model": container.root}
    weights: Literal["ema", "model"] = "model" if contents.get("ema") is None else "ema"
    taken = unwrapped(_network_in(contents, weights, str(path)))
    epoch, date = contents.get("epoch"), contents.get("date")
    stored = _tensors_in(taken, str(path))
    _check_total(stored, path)
    assumed = ""
    if isinstance(taken, Inert):
        model = _model(taken, stored, container, str(path))
    else:
        described = _described(contents, str(path))
        model = _network_of_tensors(stored, described, container, str(path))
        assumed = assumed_of(model, described)
    return Checkpoint(
        model=model,
        dtype=_weights_dtype(stored),
        container=container.kind,
        weights=weights,
        pickled_class=taken.name if isinstance(taken, Inert) else None,
        epoch=epoch if isinstance(epoch, int) else None,
        date=date if isinstance(date, str) else None,
        has_optimizer=contents.get("optimizer") is not None,
        passed_over=container.passed_over,
        assumed=assumed,
    )


def _network_in(contents: dict[Any, Any], weights: str, path: str) -> Any:
    """The pickled network or the state dict of a file's dictionary, which may itself be one."""
    if contents.get(weights) is not None:
        return contents[weights]
    for key in _STATE_DICTS:
        if _is_state_dict(contents.get(key)):
            return contents[key]
    if _is_state_dict(contents):
        return contents
    raise damaged(path, "it holds no model: neither a pickled network nor tensors under YOLOv5's names")


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(each, StoredTensor) for each in value.values())


def _tensors_in(taken: Any, path: str) -> dict[str, Source]:
    if isinstance(taken, Inert):
        if MODULES.get(upstream_name(taken.name), "Model") != "Model":
            raise damaged(path, f"its model is a {taken.name}, not a pickled YOLOv5 detection model")
        if upstream_name(taken.name) not in MODULES:
            raise unsupported_module(taken, "", path)
        return tensors_of(modules_of(taken, path), path)
    if not _is_state_dict(taken):
        raise damaged(path, "its model is not a pickled YOLOv5 detection model")
    if len(taken) > MAX_NODES:
        raise damaged(path, "its state dict has more entries than any network")
    tensors: dict[str, StoredTensor] = {}
    for key, value in taken.items():
        name = without_prefix(key) if isinstance(key, str) else str(key)[:40]
        if not isinstance(value, StoredTensor) or len(name) > 1000 or name in tensors:
            raise damaged(path, f"{name[:100]} of its state dict is not one tensor")
        tensors[name] = value
    return masked_together(tensors)


def _stored(source: Source) -> tuple[StoredTensor, ...]:
    return (source.original, source.mask) if isinstance(source, Masked) else (source,)


def _check_total(sources: Mapping[str, Source], path: Path) -> None:
    """Refuse thousands of tensors that are all views of one large storage, and views larger than theirs."""
    stored = [tensor for source in sources.values() for tensor in _stored(source)]
    total = sum(tensor.numel * tensor.array.type.size_bytes for tensor in stored)
    if total > 4 * path.stat().st_size:
        raise damaged(str(path), "its tensors overlap and would unpack to far more than the file's size")
    storages = {tensor.array.key: tensor.array for tensor in stored}
    held = sum(array.numel * array.type.size_bytes for array in storages.values())
    if held > 2 * total + _SPARE_BYTES:  # all of a storage is read for any part of it
        raise damaged(str(path), "its tensors are small parts of far larger storages")


def _weights_dtype(sources: Mapping[str, Source]) -> Dtype:
    sizes: Counter[Dtype] = Counter()
    for tensor in (_stored(source)[0] for source in sources.values()):
        match tensor.array.type.name:
            case "float16" | "bfloat16" | "float32" | "float64" as dtype:
                sizes[dtype] += tensor.numel
    return sizes.most_common(1)[0][0]


def _values(source: Source, name: str, container: Container) -> Tensor:
    """A tensor's values; those of a masked one are what its network computes with.

    Raises:
        CheckpointError: W302 damaged; W304 a mask of other values than 0 and 1.
    """
    values = container.array(_stored(source)[0])
    if isinstance(source, Masked):
        if source.mask.shape != source.original.shape:
            raise damaged(container.path, f"{name} has a mask of another shape")
        mask = container.array(source.mask)
        if not np.isin(mask, (0, 1)).all():
            raise unsupported(container.path, f"the mask of {name}, which holds more than 0 and 1,")
        values = values * mask + 0  # a negative weight times 0 is -0
    return torch.from_numpy(values)


def _described(contents: dict[Any, Any], path: str) -> dict[str, Any]:
    """The `names` and the `yaml` that stand beside a state dict."""
    yaml = contents.get("yaml")
    return {
        "names": contents.get("names"),
        "yaml": _without_missing(_plain(yaml, count(), path)) if isinstance(yaml, dict) else None,
    }


def _network_of_tensors(
    sources: Mapping[str, Source], described: Mapping[str, Any], container: Container, path: str
) -> Detector:
    """A state dict, with what stands beside it."""
    shapes = {name: _stored(source)[0].shape for name, source in sources.items()}
    try:
        return network_from_tensors(shapes, lambda name: _values(sources[name], name, container), described, path)
    except (KeyError, ValueError) as error:
        raise damaged(path, f"its state dict is not that of a YOLOv5 detection model: {str(error)[:200]}") from error


def _model(root: Inert, stored: dict[str, Source], container: Container, path: str) -> Detector:
    """Build what the file's own layer table describes, without memory, then give it the file's tensors."""
    modules = modules_of(root, path)
    yaml = _plain({key: root.state["yaml"].get(key) for key in _YAML_KEYS}, count(), path)
    head = f"model.{len(yaml['backbone']) + len(yaml['head']) - 1}"
    _check_present(stored, (f"{head}.anchors", f"{head}.m.0.weight"), path)
    shapes = {name: _stored(source)[0].shape for name, source in stored.items()}
    check_anchor_shape(shapes[f"{head}.anchors"], path)
    levels = _values(stored[f"{head}.anchors"], f"{head}.anchors", container).numpy()
    channels = shapes[f"{head}.m.0.weight"][:1]
    nc = _class_count(root, yaml, channels[0] if channels else 0, levels.shape[1], path)
    check_classes(nc, path)
    names = _class_names(root.state.get("names"), nc, path)
    architecture = architecture_from_yaml(_without_missing(yaml), nc, _pairs(levels), path)
    if not yaml["activation"]:  # the table says nothing of it where a release's own was changed in its source
        architecture = replace(architecture, activation=activation_of(modules, path) or architecture.activation)
    model = empty_network(architecture, names, stored, path)
    check_fit(model, shapes, path)
    check_modules(modules, model, lambda value: _numbers(value, container), path)
    strides = np.array(model.strides, dtype=np.float32).reshape(-1, 1, 1)
    model.spec = replace(architecture, anchors=_pairs(levels * strides))
    kept = (name for name in model.state_dict() if not name.endswith(ANCHOR_GRID))
    return fill_network(model, {name: _values(stored[name], name, container) for name in kept}, path)


def _numbers(value: Any, container: Container) -> tuple[float, ...] | None:
    """The values of a small tensor, or of a list of numbers."""
    if isinstance(value, StoredTensor) and value.numel <= _FEW:
        return tuple(container.array(value).ravel().tolist())
    if isinstance(value, list | tuple) and len(value) <= _FEW and all(isinstance(each, int | float) for each in value):
        return tuple(value)
    return None


_YAML_KEYS = ("nc", "depth_multiple", "width_multiple", "backbone", "head", "ch", "activation", "widths")


def _plain(value: Any, visited: Iterator[int], path: str, depth: int = 0) -> Any:
    """A copy of nested lists and dictionaries that is known to be finite."""
    if next(visited) > MAX_NODES or depth > 10:
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
    """By class index: from a list, or a mapping whose keys may be whole numbers as text, as JSON has them."""
    found = dict(enumerate(names)) if isinstance(names, list | tuple) else names
    if isinstance(found, dict):
        as_text = {str(index): index for index in range(nc)}
        numbered = [as_text.get(key, key) if isinstance(key, str) else key for key in found]
        found = dict(zip(numbered, found.values(), strict=True)) if len(set(numbered)) == len(found) else found
    if (
        not isinstance(found, dict)
        or set(found) != set(range(nc))
        or not all(isinstance(name, str | int | float) for name in found.values())
    ):
        message = f"the file has {len(found) if isinstance(found, dict) else 'no'} class names for its {nc} classes"
        if isinstance(found, dict) and len(found) == nc:
            message = f"the file's {nc} class names are not one text each for the classes 0 to {nc - 1}"
        help_text = "set the model's `names` in YOLOv5 to one name per class and save it again"
        raise CheckpointError(Diagnostic("W307", message, path, help=help_text))
    return tuple(str(found[index]) for index in range(nc))


def _pairs(levels: NDArray[Any]) -> Anchors:
    """(levels, anchors, 2) as nested pairs of exact floats."""
    return tuple(tuple((float(width), float(height)) for width, height in level) for level in levels)


def _check_present(stored: Mapping[str, Source], names: tuple[str, ...], path: str) -> None:
    missing = [name for name in names if name not in stored]
    if missing:
        raise misfit(path, f"the file lacks {', '.join(missing)}")
