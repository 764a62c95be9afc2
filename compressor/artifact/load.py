"""Any weights file becomes a model: our artifacts, plain safetensors, and YOLOv5 checkpoints."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from compressor.artifact.bitmask import SUFFIXES
from compressor.artifact.save import (
    FORMAT,
    METADATA_KEY,
    STATE_DICT_KEY,
    WIDTHS_FORMAT,
    Dtype,
    Form,
    Layout,
    Provenance,
    format_of,
)
from compressor.artifact.stored import Stored
from compressor.data.fetch import find_weights
from compressor.data.sources import is_there
from compressor.errors import CheckpointError, CompressorError, Diagnostic, first_line, ran_out_of_memory
from compressor.files.reading import MODEL_BYTES, regular_size
from compressor.models.detector import Detector
from compressor.models.families import UNNAMED, family_named
from compressor.models.limits import MOST_WEIGHTS, beyond
from compressor.models.weights_file import WeightsFile
from compressor.progress import Progress

_GRAPHS = {
    ".onnx": "ONNX",
    ".xml": "OpenVINO",
    ".torchscript": "TorchScript",
    ".engine": "TensorRT",
    ".tflite": "TensorFlow Lite",
    ".pb": "TensorFlow",
    ".mlmodel": "Core ML",
    ".mlpackage": "Core ML",
}  # by ending: what exporters make of weights
_FAMILY = family_named(UNNAMED)  # no file says which


@dataclass(frozen=True)
class Origin:
    """What an artifact says of how it was made.

    Attributes:
        version: of compressor.
        form: how it holds the model.
        provenance: where the model comes from.
    """

    version: str
    form: Form
    provenance: Provenance


@dataclass(frozen=True)
class LoadedModel:
    """A model and what its file says of itself.

    Attributes:
        model: float32, evaluation mode.
        stored: the same network as the file holds it; BatchNorm is separate where `model` was folded on loading.
        dtype: number type of the file's weights, such as `float16`.
        kind: what sort of file it is, in words.
        facts: what else the file tells, as label and text.
        origin: how compressor made it; None where it did not.
        warnings: what the file does not tell and was assumed, one sentence each.
    """

    model: Detector
    stored: Detector
    dtype: str
    kind: str
    facts: dict[str, str]
    origin: Origin | None = None
    warnings: tuple[str, ...] = ()

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The recipe that made it; None where compressor did not."""
        return self.origin.provenance.recipe if self.origin else None


def fetch_and_load(weights: str, progress: Progress) -> tuple[Path, LoadedModel]:
    """Find or download weights, and read them.

    Args:
        weights: a path, a URL or a name, as in a recipe.
        progress: receives the progress of a download.

    Raises:
        CheckpointError, DownloadError: see `find_weights` and `load_model`.
    """
    with progress.bar(f"find {weights}", "B") as update:
        path = find_weights(weights, update)
    return path, load_model(path)


def load_model(path: Path) -> LoadedModel:
    """Read a `.safetensors` artifact or state dict, or a YOLOv5 `.pt` checkpoint. No code of the file ever runs.

    Raises:
        CheckpointError: W3xx the file is missing, damaged, hostile or not supported.
    """
    runtime = _GRAPHS.get(".xml" if path.is_dir() and any(path.glob("*.xml")) else path.suffix.lower())
    if runtime and is_there(path):
        message = f"this is a graph for {runtime}, not weights with their layers, which alone can be compressed"
        help_text = (
            "name the .pt or .safetensors that it was exported from; of a graph for ONNX, OpenVINO or TorchScript "
            "`compressor evaluate` tells the figures and `compressor benchmark` the speed"
        )
        raise CheckpointError(Diagnostic("W302", message, str(path), help=help_text))
    if path.is_dir():
        found = sorted(file.name for file in path.glob("*.safetensors"))
        help_text = f"name the file in it: {(path / found[0]).as_posix()}" if found else "name a weights file"
        raise CheckpointError(Diagnostic("W301", "this is a folder", str(path), help=help_text))
    if path.suffix.lower() == ".safetensors":
        if is_there(path):
            try:
                regular_size(path, MODEL_BYTES)
            except OSError as error:
                raise _damaged(path, error.strerror or str(error)) from error
        return _load_safetensors(path)
    return _loaded(path, _FAMILY.read_checkpoint(path))


def _loaded(path: Path, found: WeightsFile) -> LoadedModel:
    """Weights that compressor did not write."""
    assumed = {"assumed": found.assumed} if found.assumed else {}
    warnings = _warnings(path, found.assumed)
    return LoadedModel(
        found.detector, found.detector, found.dtype, found.kind, found.facts | assumed, warnings=warnings
    )


def _warnings(path: Path, assumed: str) -> tuple[str, ...]:
    """A sentence for what a file's tensors alone do not tell; none where nothing was assumed."""
    assumption = f"{path.name} holds tensors alone, so these are assumed: {assumed}"
    return (f"{assumption}; save the whole model, or its `yaml` beside them, where that is not so",) if assumed else ()


def missing(path: Path) -> CheckpointError:
    """W301: there is no such file."""
    return CheckpointError(Diagnostic("W301", "there is no such file", str(path), help="look for a slip in the path"))


def stored_tensors(path: Path, loaded: LoadedModel) -> dict[str, list[Tensor]]:
    """By convolution the tensors that hold its weight in the file: one, or the four of a bitmask.

    Args:
        path: the file.
        loaded: what it was read as.
    """
    weights = {name.removesuffix(".weight"): w for name, w in loaded.stored.state_dict().items() if w.ndim == 4}
    if path.suffix.lower() != ".safetensors":
        dtype = getattr(torch, loaded.dtype)
        return {name: [weight.to(dtype)] for name, weight in weights.items()}
    with safe_open(path, framework="pt", device="cpu") as file:
        found = set(file.keys())
        return {
            name: [file.get_tensor(f"{name}.{each}") for each in ("weight", *SUFFIXES) if f"{name}.{each}" in found]
            for name in weights
        }


def _load_safetensors(path: Path) -> LoadedModel:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return _read(path, file)
    except FileNotFoundError as error:
        raise missing(path) from error
    except (SafetensorError, OSError) as error:
        raise _damaged(path, f"not a readable safetensors file: {str(error)[:200]}") from error


def _read(path: Path, file: Any) -> LoadedModel:
    try:
        stored = Stored(file)
        metadata = {key: _json(text) for key, text in stored.metadata.items()}
        if METADATA_KEY in metadata:
            return _artifact(path, metadata[METADATA_KEY], stored)
        described = metadata.get(STATE_DICT_KEY, metadata)
        return _loaded(path, _FAMILY.read_tensors(stored.shapes, stored.read, described, str(path)))
    except (CompressorError, SafetensorError, OSError):
        raise
    except Exception as error:  # a hostile file can provoke any error at any depth; each means the same to the user
        if ran_out_of_memory(error):
            raise
        raise _damaged(path, f"its metadata and tensors do not fit together: {first_line(error)}") from error


def _artifact(path: Path, metadata: dict[str, Any], file: Stored) -> LoadedModel:
    if metadata["format"] not in (FORMAT, WIDTHS_FORMAT):
        message = f"format {str(metadata['format'])[:60]!r}; this version reads {FORMAT!r} and {WIDTHS_FORMAT!r}"
        raise CheckpointError(Diagnostic("W308", message, str(path), help="update compressor"))
    _check_types(metadata)
    shapes = {name: _shape(name, record) for name, record in metadata["tensors"].items()}
    left = set(file.shapes).difference(*(file.parts(name) for name in shapes))
    if left:
        raise ValueError(f"it holds {min(left)}, which its metadata do not tell of")
    weights = sum(map(math.prod, shapes.values()))
    if weights > MOST_WEIGHTS:
        raise beyond(f"it holds {weights:.3g} numbers, and at most {MOST_WEIGHTS:,} are read", str(path))
    dense = {
        name: _checked(path, name, record, file.dense(name, shapes[name]))
        for name, record in metadata["tensors"].items()
    }
    spec = _FAMILY.read_spec(metadata["architecture"], str(path))
    if metadata["format"] != format_of(spec):
        raise ValueError(f"`format` is {metadata['format']!r} of a network that takes {format_of(spec)!r}")
    empty = _FAMILY.empty_network(spec, tuple(metadata["names"]), shapes, str(path))
    stored = _FAMILY.fill_network(empty, dense, str(path))
    if metadata["fused"] != stored.fused or metadata["strides"] != list(stored.strides):
        raise ValueError("its BatchNorm or its strides are not those that it tells of")
    model = _FAMILY.fold(copy.deepcopy(stored)) if metadata["fold_on_load"] else stored
    facts = {
        "layout": metadata["layout"],
        "BatchNorm in the file": "folded" if metadata["fused"] else "separate",
        "made by": f"compressor {metadata['version']}",
        "source": f"{metadata['source']['name']} (sha256 {metadata['source']['sha256'][:16]}...)",
    }
    source = metadata["source"]
    origin = Origin(
        metadata["version"],
        Form(metadata["dtype"], metadata["layout"], metadata["fold_on_load"], _formats(metadata, dense)),
        Provenance(metadata["recipe"], source["name"], source["sha256"]),
    )
    return LoadedModel(model, stored, metadata["dtype"], "compressor artifact", facts, origin)


def _formats(metadata: dict[str, Any], dense: Mapping[str, Tensor]) -> dict[str, Dtype]:
    """The number types of tensors that have another one than the file."""
    known: dict[str, Dtype] = {f"torch.{dtype}": dtype for dtype in get_args(Dtype)}
    types = {name: known.get(str(tensor.dtype)) for name, tensor in dense.items()}
    return {name: dtype for name, dtype in types.items() if dtype is not None and dtype != metadata["dtype"]}


_TYPES = {
    "version": str,
    "architecture": dict,
    "names": list,
    "strides": list,
    "fused": bool,
    "fold_on_load": bool,
    "recipe": dict,
    "source": dict,
    "tensors": dict,
}


def _check_types(metadata: dict[str, Any]) -> None:
    """Refuse metadata of other types than `save.file_metadata` writes.

    Raises:
        ValueError: with the first that is otherwise.
        KeyError: one is missing.
    """
    for key, kind in _TYPES.items():
        if type(metadata[key]) is not kind:
            raise ValueError(f"`{key}` is not what it should be")
    texts = (*metadata["names"], metadata["source"]["name"], metadata["source"]["sha256"])
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a class name or its source is not a text")
    if metadata["dtype"] not in get_args(Dtype) or metadata["layout"] not in get_args(Layout):
        raise ValueError("`dtype` or `layout` is not known")


def _shape(name: str, record: dict[str, Any]) -> tuple[int, ...]:
    """The shape that the metadata tell of a tensor."""
    shape = record["shape"]
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"the shape of {name} is not a list of whole numbers")
    return tuple(shape)


def _checked(path: Path, name: str, record: dict[str, Any], dense: Tensor) -> Tensor:
    """A tensor that has the number type and the digest on record."""
    if str(dense.dtype) != f"torch.{record['dtype']}":
        raise ValueError(f"{name} has another shape or number type than recorded")
    if hashlib.sha256(dense.numpy().tobytes()).hexdigest() != record["sha256"]:
        raise _damaged(path, f"{name} differs from its recorded digest")
    return dense


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(Diagnostic("W302", what, str(path), help="fetch or make the file again"))
