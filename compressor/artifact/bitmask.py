"""The bitmask layout of one weight: its non-zero values and one bit per weight.

The four tensors carry the names and dtypes of the `sparse-bitmask` format of compressed-tensors 0.14, on the weight
flattened to the matrix (C_out, C_in * kH * kW).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
    matrix = weight.detach().cpu().reshape(weight.shape[0], -1)
    mask = matrix != 0
    counts = mask.sum(dim=1)
    packed = np.packbits(mask.numpy(), axis=-1, bitorder="little")
    return Bitmask(
        compressed=matrix[mask],
        bitmask=torch.from_numpy(packed),
        shape=torch.tensor(matrix.shape, dtype=torch.int64),
        row_offsets=torch.cumsum(counts, 0) - counts,
    )


def decode(encoded: Bitmask, shape: tuple[int, ...]) -> Tensor:
    """The dense weight of `shape`.

    Raises:
        ValueError: the four tensors contradict each other or the shape.
    """
    rows, columns = shape[0], math.prod(shape[1:])
    if encoded.shape.tolist() != [rows, columns]:
        raise ValueError(f"shape says {encoded.shape.tolist()}, the model needs {[rows, columns]}")
    if tuple(encoded.bitmask.shape) != (rows, math.ceil(columns / 8)) or encoded.bitmask.dtype != torch.uint8:
        raise ValueError(f"the bitmask is {tuple(encoded.bitmask.shape)} for a matrix of {rows} x {columns}")
    bits = np.unpackbits(encoded.bitmask.numpy(), axis=-1, count=columns, bitorder="little")
    mask = torch.from_numpy(bits).bool()
    counts = mask.sum(dim=1)
    if int(counts.sum()) != encoded.compressed.numel():
        raise ValueError(f"the bitmask holds {int(counts.sum())} bits for {encoded.compressed.numel()} values")
    if not torch.equal(torch.cumsum(counts, 0) - counts, encoded.row_offsets):
        raise ValueError("the row offsets do not follow from the bitmask")
    dense = torch.zeros(rows, columns, dtype=encoded.compressed.dtype)
    dense[mask] = encoded.compressed
    return dense.view(shape)
