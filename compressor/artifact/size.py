"""How many bytes a model's file will have, from shapes and counts alone; nothing is encoded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compressor.artifact.bitmask import Bitmask
from compressor.artifact.save import METADATA_KEY, Dtype, Form, Provenance, file_metadata, laid_out, stored_dtype
from compressor.models.detector import Detector

PLACEHOLDER_DIGEST = "0" * 64  # as long as every SHA-256 in hexadecimal digits

_SAFETENSORS_NAMES = {torch.float16: "F16", torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}
_LENGTH_BYTES = 8  # the header's length stands before it, and its end is padded to a multiple of as much


def predicted_size(stored: Detector, zeros: Mapping[str, int], form: Form, provenance: Provenance) -> int:
    """Exact number of bytes `encode_model` would write for `stored` if its convolutions held `zeros` zero weights.

    Args:
        stored: as for `encode_model`.
        zeros: zero weights by module name, such as `model.2.cv1.conv`, wherever in the layer they stand. A layer that
            is not named, or holds more zeros already, keeps those it has; what is too small for the file's number
            type is a zero.
        form: number type and layout of the file.
        provenance: where the model comes from; the digest may be `PLACEHOLDER_DIGEST`.

    Raises:
        ValueError: `zeros` names something else than a convolution, or more zeros than a layer has weights.
    """
    _check_zeros(stored, zeros)
    state = stored.state_dict()
    dense = {
        name: torch.empty(tensor.shape, dtype=stored_dtype(tensor, form.formats.get(name, form.dtype)), device="meta")
        for name, tensor in state.items()
    }

    def encoded(name: str, weight: Tensor) -> Bitmask:
        nonzeros = int(torch.count_nonzero(state[name].to(weight.dtype)))
        return _empty_bitmask(weight, min(nonzeros, weight.numel() - zeros.get(name.removesuffix(".weight"), 0)))

    tensors = laid_out(dense, form.layout, encoded)
    metadata = file_metadata(stored, dense, lambda _: PLACEHOLDER_DIGEST, form, provenance)
    return safetensors_size(tensors, {METADATA_KEY: metadata})


def safetensors_size(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """Length of the safetensors file of these tensors; they may stand on the meta device.

    The file is the header's length in 8 bytes, the header (JSON, padded by spaces to a multiple of 8 bytes) and the
    tensors end to end, those of wider numbers first and then by name. The header holds where each begins and ends,
    so the order decides how many digits these places take.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor, begin = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        place = {"dtype": _SAFETENSORS_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        header[name] = place
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return _LENGTH_BYTES + math.ceil(len(text) / _LENGTH_BYTES) * _LENGTH_BYTES + end


def _check_zeros(model: Detector, zeros: Mapping[str, int]) -> None:
    weights = {name: m.weight.numel() for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    for name, count in zeros.items():
        if not 0 <= count <= weights.get(name, -1):
            raise ValueError(f"{name} holds {weights.get(name, 0)} convolution weights, not {count} zeros")


def _empty_bitmask(weight: Tensor, nonzeros: int) -> Bitmask:
    """What `bitmask.encode` returns for a weight of this shape and dtype, without the values."""
    rows, columns = weight.shape[0], math.prod(weight.shape[1:])

    def empty(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    return Bitmask(
        compressed=empty(nonzeros, dtype=weight.dtype),
        bitmask=empty(rows, math.ceil(columns / 8), dtype=torch.uint8),
        shape=empty(2, dtype=torch.int64),
        row_offsets=empty(rows, dtype=torch.int64),
    )


def holds_exactly(dtype: Dtype, model: Detector) -> bool:
    """Whether every number of the model is one of `dtype`."""
    return all(
        torch.equal(tensor.to(stored_dtype(tensor, dtype)).to(tensor.dtype), tensor)
        for tensor in model.state_dict().values()
    )
