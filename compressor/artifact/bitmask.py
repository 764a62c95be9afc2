"""The bitmask layout of one weight: its non-zero values and one bit per weight.

The four tensors carry the names and dtypes of the `sparse-bitmask` format of compressed-tensors 0.14, on the weight
flattened to the matrix (C_out, C_in * kH * kW).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.jit import compiled

SUFFIXES = ("compressed", "bitmask", "shape", "row_offsets")


@dataclass(frozen=True)
class Bitmask:
    """One encoded weight.

    Attributes:
        compressed: (non-zeros,), the non-zero values, row by row, in the weight's dtype.
        bitmask: (C_out, ceil(columns / 8)) uint8; bit i of a row, least significant first, is column i.
        shape: (2,) int64, C_out and columns.
        row_offsets: (C_out,) int64, where each row starts in `compressed`.
    """

    compressed: Tensor
    bitmask: Tensor
    shape: Tensor
    row_offsets: Tensor

    @property
    def size_bytes(self) -> int:
        """Bytes of the four tensors."""
        return sum(t.numel() * t.element_size() for t in (self.compressed, self.bitmask, self.shape, self.row_offsets))


def encode(weight: Tensor) -> Bitmask:
    """Encode a weight of at least two dimensions; `decode` gives it back bit for bit unless it holds -0.0."""
    matrix = weight.detach().cpu().reshape(weight.shape[0], -1).contiguous()
    bits = _bits(matrix)
    packed = np.empty((len(bits), math.ceil(bits.shape[1] / 8)), np.uint8)
    values = [np.empty(0, bits.dtype)]
    for block in _blocks(*bits.shape):
        mask = bits[block] != 0
        mask &= bits[block] != np.iinfo(bits.dtype).min  # which is -0.0: the sign says nothing
        packed[block] = np.packbits(mask, axis=-1, bitorder="little")
        values.append(np.compress(mask.ravel(), bits[block].ravel()))
    counts = _ones(packed)
    return Bitmask(
        compressed=torch.from_numpy(np.concatenate(values)).view(matrix.dtype),
        bitmask=torch.from_numpy(packed),
        shape=torch.tensor(matrix.shape, dtype=torch.int64),
        row_offsets=torch.from_numpy(np.cumsum(counts) - counts),
    )


def decode(encoded: Bitmask, shape: tuple[int, ...]) -> Tensor:
    """The dense weight of `shape`.

    Raises:
        ValueError: the four tensors contradict each other or the shape.
    """
    if len(shape) < 2 or min(shape) < 1:  # without columns, a row would cost the file nothing
        raise ValueError(f"a bitmask of shape {list(shape)[:8]} holds nothing")
    rows, columns = shape[0], math.prod(shape[1:])
    if encoded.shape.tolist() != [rows, columns]:
        raise ValueError(f"shape says {encoded.shape.tolist()}, the model needs {[rows, columns]}")
    if tuple(encoded.bitmask.shape) != (rows, math.ceil(columns / 8)) or encoded.bitmask.dtype != torch.uint8:
        raise ValueError(f"the bitmask is {tuple(encoded.bitmask.shape)} for a matrix of {rows} x {columns}")
    packed = encoded.bitmask.numpy()
    if columns % 8 and (packed[:, -1] >> columns % 8).any():
        raise ValueError("the bitmask has bits beyond the last column")
    counts = _ones(packed)
    ends = np.cumsum(counts)
    if tuple(encoded.compressed.shape) != (counts.sum(),) or not encoded.compressed.is_floating_point():
        raise ValueError(f"the bitmask holds {counts.sum()} bits for {encoded.compressed.numel()} values")
    if not np.array_equal(ends - counts, encoded.row_offsets.numpy()):
        raise ValueError("the row offsets do not follow from the bitmask")
    compiles = rows * columns >= _LEAST_COMPILED and encoded.compressed.numel() >= _LEAST_KEPT * rows * columns
    make = torch.empty if compiles else torch.zeros
    dense = make(rows, columns, dtype=encoded.compressed.dtype)
    values, out = _bits(encoded.compressed), _bits(dense)
    if not compiles:
        _scatter(values, packed, ends - counts, out)
    else:
        _spread(np.ascontiguousarray(values), np.ascontiguousarray(packed), _BEFORE, _KEEP.astype(out.dtype), out)
    return dense.view(shape)


_LEAST_COMPILED = 2**19  # weights of a layer: below, NumPy is done before a first run would have compiled the loop
_LEAST_KEPT = 0.25  # of them: with fewer NumPy, which touches only these, is as fast
_BLOCK = 2**16  # weights at a time: what is needed beside them stays in the processor's cache
_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")  # (256, 8), bits of each byte
_BEFORE = (_SET.cumsum(axis=1) - _SET).astype(np.uint8)  # (256, 8), how many are set before each
_KEEP = -_SET.astype(np.int8)  # (256, 8), all ones where a bit is set
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def _bits(tensor: Tensor) -> NDArray[Any]:
    """The same memory as integers, which NumPy compares and moves much faster than half floats."""
    return tensor.view(_INTEGERS[tensor.element_size()]).numpy()


def _ones(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
    return counts


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, columns))
    return (slice(row, row + step) for row in range(0, rows, step))


def _scatter(values: NDArray[Any], packed: NDArray[np.uint8], starts: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Fill `out`, which is zero, row by row with the next of `values` wherever a bit is set."""
    for block in _blocks(*out.shape):
        mask = np.unpackbits(packed[block], axis=-1, count=out.shape[1], bitorder="little")
        (places,) = mask.view(np.bool_).ravel().nonzero()
        start = starts[block.start]
        out[block].reshape(-1)[places] = values[start : start + len(places)]


@compiled
def _spread(
    values: NDArray[Any], packed: NDArray[np.uint8], before: NDArray[np.uint8], keep: NDArray[Any], out: NDArray[Any]
) -> None:
    """Fill `out`, all of it, with the next of `values` wherever a bit is set and zero elsewhere.

    Eight weights at a time without a branch: each takes the value that is its own if its bit is set, and is masked.

    Args:
        values: (n,), as many as there are set bits.
        packed: (rows, ceil(columns / 8)), without bits beyond the last column.
        before: (256, 8), how many bits of a byte are set before each.
        keep: (256, 8), all ones where the bit is set; as `values`.
        out: (rows, columns).
    """
    rows, columns = out.shape
    taken = np.int64(0)
    for row in range(rows):
        for i in range(packed.shape[1]):
            byte = packed[row, i]
            first = 8 * i
            if first + 8 <= columns and taken + 8 <= values.size:
                source, target = values[taken : taken + 8], out[row, first : first + 8]
                for k in range(8):
                    target[k] = source[before[byte, k]] & keep[byte, k]
            else:
                for k in range(min(8, columns - first)):
                    is_set = keep[byte, k] != 0
                    out[row, first + k] = values[taken + before[byte, k]] if is_set else 0
            taken += np.int64(before[byte, 7]) + np.int64(byte >> 7)
