"""Losses of every layer as measured by `compressor sensitivity`, written to a JSON file and read back; no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from compressor.errors import Diagnostic, InputError
from compressor.files.reading import MEGABYTE, file_bytes

SENSITIVITY_SCHEMA = "compressor/tasks/sensitivity/1"
_MOST_BYTES = 64 * MEGABYTE


def _ascending(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if any(before >= after for (before, _), (after, _) in pairwise(points)):
        raise ValueError("sparsities must ascend")
    return points


_Sparsity = Annotated[float, Field(gt=0, lt=1)]
_Loss = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class LayerLosses:
    """Losses from pruning one layer alone.

    Attributes:
        name: module name, such as `model.2.cv1.conv`.
        role: stem, backbone, neck or detect.
        weights: number of weights.
        points: (sparsity, loss) by ascending sparsity; the table's `by` says what a loss is.
    """

    name: str
    role: str
    weights: Annotated[int, Field(gt=0)]
    points: Annotated[tuple[tuple[_Sparsity, _Loss], ...], Field(min_length=1), AfterValidator(_ascending)]


@dataclass(frozen=True)
class SensitivityTable:
    """Losses of every layer of one checkpoint.

    Attributes:
        weights: the checkpoint's path as it was given.
        weights_sha256: its digest.
        fuse: whether BatchNorm was folded before, as in a recipe.
        score: by which weights were selected, as in a recipe.
        by: `output`, the change of the network's outputs as `head_loss` measures it, or `ap`, the AP lost.
        repaired: whether the layer's other weights were solved again first, as a repair by least squares does.
        data: the data set or folder as it was given.
        images: number of images.
        image_size: in pixels.
        split: of the data set; without meaning for a folder of images.
        layers: every convolution, in model order.
    """

    weights: str
    weights_sha256: str
    fuse: str
    score: str
    by: str
    repaired: bool
    data: str
    images: int
    image_size: int
    split: str
    layers: tuple[LayerLosses, ...]
    schema: str = field(default=SENSITIVITY_SCHEMA)

    def of(self, name: str) -> LayerLosses:
        """The losses of one layer; `KeyError` if there is no layer of that name."""
        return {layer.name: layer for layer in self.layers}[name]


def table_text(table: SensitivityTable) -> str:
    """The table as indented JSON in full precision, ending in a newline."""
    return json.dumps(asdict(table), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def load_table(path: Path) -> SensitivityTable:
    """Read a table.

    Raises:
        InputError: U907 there is no such file; U908 it is not a table that this version reads.
    """
    help_text = "make it with `compressor sensitivity WEIGHTS --data D --output FILE`"
    try:
        table = _TABLE.validate_json(file_bytes(path, _MOST_BYTES))
    except OSError as error:
        message = f"no sensitivity table here: {error.strerror or error}"
        raise InputError(Diagnostic("U907", message, str(path), help=help_text)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"not a sensitivity table: {place or 'the document'}: {first['msg']}"
        raise InputError(Diagnostic("U908", message, str(path), help=help_text)) from error
    if table.schema != SENSITIVITY_SCHEMA:
        message = f"schema {table.schema!r}, this version reads {SENSITIVITY_SCHEMA!r}"
        raise InputError(Diagnostic("U908", message, str(path), help=help_text))
    return table


_TABLE = TypeAdapter(SensitivityTable)
