"""A finished model becomes one safetensors file that rebuilds it alone."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from compressor.artifact.bitmask import SUFFIXES, Bitmask, encode
from compressor.errors import ArtifactError, Diagnostic
from compressor.models.detector import Detector, Spec
from compressor.models.families import family_of
from compressor.results.files import GZIP_LEVEL, FileSize, Sizes
from compressor.version import __version__

FORMAT = "compressor/artifact/1"
WIDTHS_FORMAT = "compressor/artifact/2"  # where the architecture has widths, which readers of 1 know nothing of
METADATA_KEY = "compressor"
STATE_DICT_KEY = "yolov5"  # names and layer tables of a plain state dict
Dtype = Literal["float16", "float32"]
Layout = Literal["bitmask", "dense"]

_HEADER_BYTES_PER_TENSOR = 100  # about what one more tensor costs in the file's header
_TORCH_DTYPES = {"float16": torch.float16, "float32": torch.float32}
ALIKE: Mapping[str, Dtype] = {}  # every tensor has the number type of the file


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


@dataclass(frozen=True)
class Form:
    """How a file holds a model.

    Attributes:
        dtype: number type of the weights.
        layout: `bitmask` or `dense`.
        fold_on_load: the reader folds BatchNorm after loading.
        formats: by tensor, the number type of those that have another one.
    """

    dtype: Dtype
    layout: Layout
    fold_on_load: bool = False
    formats: Mapping[str, Dtype] = field(default_factory=lambda: ALIKE)


def format_of(spec: Spec) -> str:
    """The lowest version of the format that can hold such a network."""
    return WIDTHS_FORMAT if spec.widths else FORMAT


def unfolded_storage(model: Detector, raw: Detector, dtype: Dtype) -> Detector | None:
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
    if model.spec.widths != raw.spec.widths:
        return None
    stored = copy.deepcopy(raw)
    modules = dict(model.named_modules())
    for name, module in stored.named_modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data[modules[name].weight == 0] = 0.0
    round_to_dtype(stored, dtype)
    folded = family_of(model).fold(copy.deepcopy(stored)).state_dict()
    exact = all(torch.equal(tensor, folded[name]) for name, tensor in model.state_dict().items())
    return stored if exact else None


def round_to_dtype(model: Detector, dtype: Dtype, formats: Mapping[str, Dtype] = ALIKE) -> None:
    """Round every parameter and buffer to what the file will hold, in place: what is evaluated is what is saved.

    Args:
        model: changed.
        dtype: number type of the file.
        formats: by tensor, the number type of those that have another one.

    Raises:
        ArtifactError: A501 a value is too large for its number type.
    """
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        rounded = (
            tensor.to(stored_dtype(tensor, formats.get(name, dtype))).to(tensor.dtype) + 0.0
        )  # + 0.0 turns -0.0 into 0.0
        if not torch.isfinite(rounded).all():
            help_text = "save with `artifact: {dtype: float32}`"
            message = f"{name} holds values too large for {formats.get(name, dtype)}"
            raise ArtifactError(Diagnostic("A501", message, help=help_text))
        tensor.copy_(rounded)


def encode_model(stored: Detector, form: Form, provenance: Provenance) -> bytes:
    """The file's bytes; the same for the same input on every run and machine.

    All metadata stands in one canonical-JSON key, since safetensors writes several keys in random order.

    Args:
        stored: the model, or what `unfolded_storage` found for it.
        form: number type and layout of the file.
        provenance: where the model comes from.
    """
    dense = dense_tensors(stored, form.dtype, form.formats)
    tensors = laid_out(dense, form.layout, lambda _, tensor: encode(tensor))
    metadata = file_metadata(stored, dense, _digest, form, provenance)
    return to_bytes(tensors, {METADATA_KEY: metadata})


def stored_dtype(tensor: Tensor, dtype: Dtype) -> torch.dtype:
    """The type a file of `dtype` holds a tensor in; integers stay what they are."""
    return _TORCH_DTYPES[dtype] if tensor.is_floating_point() else tensor.dtype


def dense_tensors(model: Detector, dtype: Dtype, formats: Mapping[str, Dtype] = ALIKE) -> dict[str, Tensor]:
    """The state dict on the CPU, each contiguous, floating tensors in `dtype` or as `formats` says of them."""
    return {
        name: tensor.to(stored_dtype(tensor, formats.get(name, dtype))).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }


def laid_out(
    dense: Mapping[str, Tensor], layout: Layout, encode_weight: Callable[[str, Tensor], Bitmask]
) -> dict[str, Tensor]:
    """The tensors of the file: in `bitmask` layout, convolution weights are encoded where that is smaller.

    Args:
        dense: the model's tensors in the file's number type; only shapes and dtypes are looked at here.
        layout: `bitmask` or `dense`.
        encode_weight: a weight's name and the weight to its encoded form.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in dense.items():
        encoded = encode_weight(name, tensor) if layout == "bitmask" and _is_convolution(name, tensor) else None
        if encoded is None or not _shrinks(tensor, encoded):
            tensors[name] = tensor
        else:
            prefix = name.removesuffix(".weight")
            tensors |= {f"{prefix}.{suffix}": getattr(encoded, suffix) for suffix in SUFFIXES}
    return tensors


def file_metadata(
    stored: Detector,
    dense: Mapping[str, Tensor],
    digest: Callable[[Tensor], str],
    form: Form,
    provenance: Provenance,
) -> str:
    """The file's metadata as canonical JSON.

    Of every dense tensor it holds the shape and a digest: what a reader needs to decode it and to check that it did
    so right.

    Args:
        stored: as for `encode_model`.
        dense: its tensors in the file's number type.
        digest: SHA-256 of a tensor's bytes, 64 hexadecimal digits.
        form: number type and layout of the file.
        provenance: where the model comes from.
    """

    def record(tensor: Tensor) -> dict[str, Any]:
        dtype = str(tensor.dtype).removeprefix("torch.")
        return {"shape": list(tensor.shape), "dtype": dtype, "sha256": digest(tensor)}

    return canonical_json(
        {
            "format": format_of(stored.spec),
            "version": __version__,
            "architecture": family_of(stored).describe(stored.spec),
            "names": list(stored.names),
            "strides": list(stored.strides),
            "fused": stored.fused,
            "dtype": form.dtype,
            "layout": form.layout,
            "fold_on_load": form.fold_on_load,
            "recipe": provenance.recipe,
            "source": {"name": provenance.source_name, "sha256": provenance.source_sha256},
            "tensors": {name: record(tensor) for name, tensor in dense.items()},
        }
    )


def measure(
    source: bytes, stored: Detector, artifact: bytes, dtype: Dtype, origin: tuple[Form, Provenance] | None
) -> Sizes:
    """What the source, the file and the dense files of its tensors weigh, raw and gzipped.

    Compressing is most of the time it takes to save YOLOv5x, so the four files are compressed side by side.

    Args:
        source: of the file.
        stored: the tensors that the file holds.
        artifact: the file.
        dtype: its number type.
        origin: of an artifact, whose dense files are those that its recipe would write with `layout: dense`; None for
            other files, beside which only their tensors are weighed.
    """
    dense_float32, dense = (_dense_file(stored, each, origin) for each in ("float32", dtype))
    with ThreadPoolExecutor() as pool:  # zlib releases the interpreter's lock
        weighed = list(pool.map(_file_size, (source, dense_float32, dense, artifact)))
    return Sizes(weighed[0], weighed[1], weighed[2], weighed[3], dense_as_written=origin is not None)


def _dense_file(stored: Detector, dtype: Dtype, origin: tuple[Form, Provenance] | None) -> bytes:
    if origin is None:
        return to_bytes(dense_tensors(stored, dtype))
    form, provenance = origin
    recipe = {**provenance.recipe, "artifact": {"dtype": dtype, "layout": "dense"}}
    return encode_model(stored, replace(form, dtype=dtype, layout="dense"), replace(provenance, recipe=recipe))


def gzip_size(data: bytes) -> int:
    """Bytes that are left of some when they are compressed as every report does it."""
    return len(gzip.compress(data, compresslevel=GZIP_LEVEL, mtime=0))


def _file_size(data: bytes) -> FileSize:
    return FileSize(len(data), gzip_size(data))


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _is_convolution(name: str, tensor: Tensor) -> bool:
    return tensor.ndim == 4 and name.endswith(".weight")


def _shrinks(weight: Tensor, encoded: Bitmask) -> bool:
    """Whether a weight takes fewer bytes in its encoded form, its longer entry in the file's header included."""
    extra_header = _HEADER_BYTES_PER_TENSOR * (len(SUFFIXES) - 1)
    return encoded.size_bytes + extra_header < weight.numel() * weight.element_size()


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
