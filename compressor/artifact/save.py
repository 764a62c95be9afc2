"""A finished model becomes one safetensors file that rebuilds it alone."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from compressor import __version__
from compressor.artifact.bitmask import SUFFIXES, encode
from compressor.errors import ArtifactError, Diagnostic
from compressor.results import GZIP_LEVEL, FileSize, Sizes
from compressor.yolov5.architecture import architecture_to_yaml
from compressor.yolov5.build import YOLOv5
from compressor.yolov5.fuse import fuse

FORMAT = "compressor/artifact/1"
METADATA_KEY = "compressor"
Dtype = Literal["float16", "float32"]
Layout = Literal["bitmask", "dense"]

_HEADER_BYTES_PER_TENSOR = 100  # about what one more tensor costs in the file's header
_TORCH_DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Provenance:
    """Where a compressed model comes from; travels in the file.

    Attributes:
        recipe: the resolved recipe.
        source_name: file name of the source weights.
        source_sha256: their digest.
    """

    recipe: dict[str, Any]
    source_name: str
    source_sha256: str


def unfolded_storage(model: YOLOv5, raw: YOLOv5, dtype: Dtype) -> YOLOv5 | None:
    """The tensors to store a folded model by, where its source's separate BatchNorm can hold it without any rounding.

    A folded weight is a product that float16 can rarely hold; the checkpoint's own weights and statistics it holds
    exactly. Where a model differs from its source by zeros only, storing those and folding on loading is exact.

    Args:
        model: with BatchNorm folded.
        raw: its source, before folding.
        dtype: number type of the file.

    Returns:
        `raw` with the model's zeros, or None where folding that does not give the model bit for bit.
    """
    stored = copy.deepcopy(raw)
    modules = dict(model.named_modules())
    for name, module in stored.named_modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data[modules[name].weight == 0] = 0.0
    round_to_dtype(stored, dtype)
    folded = fuse(copy.deepcopy(stored)).state_dict()
    exact = all(torch.equal(tensor, folded[name]) for name, tensor in model.state_dict().items())
    return stored if exact else None


def round_to_dtype(model: YOLOv5, dtype: Dtype) -> None:
    """Round every parameter and buffer to what the file will hold, in place, so that what is judged is what is saved.

    Raises:
        ArtifactError: A501 a value is too large for the dtype.
    """
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        rounded = tensor.to(_TORCH_DTYPES[dtype]).to(tensor.dtype) + 0.0  # + 0.0 turns -0.0 into 0.0
        if not torch.isfinite(rounded).all():
            help_text = "save with `artifact: {dtype: float32}`"
            raise ArtifactError(Diagnostic("A501", f"{name} holds values too large for {dtype}", help=help_text))
        tensor.copy_(rounded)


def encode_model(
    stored: YOLOv5, dtype: Dtype, layout: Layout, provenance: Provenance, *, fold_on_load: bool = False
) -> bytes:
    """The file's bytes; the same for the same input on every run and machine.

    All metadata stands in one canonical-JSON key, since safetensors writes several keys in random order.

    Args:
        stored: the model, or what `unfolded_storage` found for it.
        dtype: number type of the file.
        layout: `bitmask` or `dense`.
        provenance: where the model comes from.
        fold_on_load: the reader folds BatchNorm after loading.
    """
    dense = dense_tensors(stored, dtype)
    tensors: dict[str, Tensor] = {}
    for name, tensor in dense.items():
        tensors |= _encoded(name, tensor) if layout == "bitmask" else {name: tensor}
    metadata = {
        "format": FORMAT,
        "version": __version__,
        "architecture": architecture_to_yaml(stored.architecture),
        "names": list(stored.names),
        "strides": list(stored.strides),
        "fused": stored.fused,
        "fold_on_load": fold_on_load,
        "dtype": dtype,
        "layout": layout,
        "recipe": provenance.recipe,
        "source": {"name": provenance.source_name, "sha256": provenance.source_sha256},
        "tensors": {name: _record(tensor) for name, tensor in dense.items()},
    }
    return to_bytes(tensors, {METADATA_KEY: canonical_json(metadata)})


def dense_tensors(model: YOLOv5, dtype: Dtype) -> dict[str, Tensor]:
    """The state dict on the CPU, floating tensors in `dtype`, each contiguous."""
    return {
        name: (tensor.to(_TORCH_DTYPES[dtype]) if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }


def measure(source: bytes, stored: YOLOv5, artifact: bytes, dtype: Dtype) -> Sizes:
    """What the source, the artifact and its tensors stored densely weigh, raw and gzipped.

    Compressing is most of the time it takes to save YOLOv5x, so the four files are compressed side by side.
    """
    dense_float32, dense = (to_bytes(dense_tensors(stored, each)) for each in ("float32", dtype))
    with ThreadPoolExecutor() as pool:  # zlib releases the interpreter's lock
        return Sizes(*pool.map(_file_size, (source, dense_float32, dense, artifact)))


def _file_size(data: bytes) -> FileSize:
    return FileSize(len(data), len(gzip.compress(data, compresslevel=GZIP_LEVEL, mtime=0)))


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _encoded(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """A convolution weight in the bitmask layout where that is smaller, else as it is."""
    if tensor.ndim != 4 or not name.endswith(".weight"):
        return {name: tensor}
    encoded = encode(tensor)
    extra_header = _HEADER_BYTES_PER_TENSOR * (len(SUFFIXES) - 1)
    if encoded.size_bytes + extra_header >= tensor.numel() * tensor.element_size():
        return {name: tensor}
    prefix = name.removesuffix(".weight")
    return {f"{prefix}.{suffix}": getattr(encoded, suffix) for suffix in SUFFIXES}


def _record(tensor: Tensor) -> dict[str, Any]:
    """Shape and digest of a dense tensor: what a reader needs to decode it and to check that it did so right."""
    digest = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch."), "sha256": digest}
