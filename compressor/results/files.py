"""What weights files hold and weigh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compressor.results.network import LayerSparsity, ModelSummary

GZIP_LEVEL = 1  # higher levels shrink weights by a few per cent more and take many times as long


@dataclass(frozen=True)
class FileDigest:
    """A file by its path, of a run within its folder, and SHA-256."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FileSize:
    """One file's size on disk and compressed with gzip at `GZIP_LEVEL`, in bytes."""

    size_bytes: int
    gzip_bytes: int


@dataclass(frozen=True)
class Sizes:
    """File sizes of the same model, so that the dtype's and the sparsity's shares can be told apart.

    Attributes:
        source: the checkpoint as it came.
        dense_float32: what the artifact would be in float32 with `layout: dense`.
        dense: the same in the artifact's dtype: what `x dense` and gates on the size are shares of.
        artifact: the artifact.
        dense_as_written: the dense files hold the same metadata as the artifact; earlier versions left it out.
    """

    source: FileSize
    dense_float32: FileSize
    dense: FileSize
    artifact: FileSize
    dense_as_written: bool = False


@dataclass(frozen=True)
class StoredLayer(LayerSparsity):
    """How a file holds one convolution's weight.

    Attributes:
        dtype: number type of its values.
        layout: `bitmask` or `dense`.
        size_bytes: of its tensors, without their entries in the file's header.
        gzip_bytes: of these tensors compressed; None where that was not asked for.
    """

    dtype: str
    layout: str
    size_bytes: int
    gzip_bytes: int | None


@dataclass(frozen=True)
class Inspection:
    """What a weights file holds.

    Attributes:
        kind: what sort of file it is.
        dtype: number type of its weights.
        size_bytes: of the file.
        sha256: of the file.
        model: the summary upstream prints.
        names: class names.
        anchors: per level, (width, height) in input pixels.
        sparsity: fraction of the convolution weights that is zero.
        facts: what else the file tells.
        layers: every convolution.
        recipe: the recipe that made it, None where compressor did not.
        sizes: the file beside the same tensors stored densely, raw and gzipped; None where that was not asked for.
    """

    kind: str
    dtype: str
    size_bytes: int
    sha256: str
    model: ModelSummary
    names: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    sparsity: float
    facts: dict[str, str]
    layers: tuple[StoredLayer, ...]
    recipe: dict[str, Any] | None
    sizes: Sizes | None = None
