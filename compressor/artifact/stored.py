"""The tensors of a safetensors file: their shapes are known, and compared, before any of them is read."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from compressor.artifact.bitmask import SUFFIXES, Bitmask, decode
from compressor.models.limits import MOST_TENSORS


class Stored:
    """What an open file holds.

    Attributes:
        metadata: the header's texts.
        shapes: of every tensor, by name.

    Args:
        file: opened by `safetensors.safe_open` for torch; it has to stay open while tensors are read.

    Raises:
        ValueError: it holds more tensors than any YOLOv5.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.metadata: dict[str, str] = file.metadata() or {}
        names = file.keys()
        if len(names) > MOST_TENSORS:
            raise ValueError(f"it holds {len(names):,} tensors, and no YOLOv5 has more than {MOST_TENSORS:,}")
        self.shapes = {name: tuple(map(int, file.get_slice(name).get_shape())) for name in names}

    def read(self, name: str) -> Tensor:
        """A tensor.

        Raises:
            KeyError: there is no tensor of this name.
        """
        if name not in self.shapes:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def read_all(self) -> dict[str, Tensor]:
        """Every tensor by name."""
        return {name: self.read(name) for name in self.shapes}

    def parts(self, name: str) -> tuple[str, ...]:
        """The names of the tensors that hold one: its own, or the four of its bitmask."""
        prefix = name.removesuffix(".weight")
        return (name,) if name in self.shapes else tuple(f"{prefix}.{suffix}" for suffix in SUFFIXES)

    def dense(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor, decoded where the file holds it as a bitmask.

        Args:
            name: of the dense tensor.
            shape: that it must have.

        Raises:
            KeyError: it is not there.
            ValueError: it has another shape, or its bitmask contradicts itself.
        """
        parts = self.parts(name)
        if parts == (name,):
            if self.shapes[name] != shape:
                raise ValueError(f"{name} has another shape or number type than recorded")
            return self.read(name)
        try:
            if min(shape, default=0) < 1:
                raise ValueError(f"a bitmask of shape {list(shape)[:8]} holds nothing")
            compressed, bitmask, two, offsets = (self.shapes[part] for part in parts)
            rows, columns = shape[0], math.prod(shape[1:])
            if (bitmask, two, offsets) != ((rows, math.ceil(columns / 8)), (2,), (rows,)) or len(compressed) != 1:
                raise ValueError(f"the tensors of the bitmask are not those of {rows} x {columns} weights")
            return decode(Bitmask(*map(self.read, parts)), shape)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
