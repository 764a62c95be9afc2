"""Contents and sizes of weights files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compressor.results.network import LayerSparsity, ModelSummary

GZIP_LEVEL = 1  # higher levels make weights a few per cent smaller and take many times as long


@dataclass(frozen=True)
class FileDigest:
    """A file's path (of a run's files within its folder), size and SHA-256."""

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
    """File sizes of the same model, which show how much the dtype and how much the sparsity saves.

    Attributes:
        source: the original checkpoint.
        dense_float32: the artifact if it were float32 with `layout: dense`.
        dense: the same in the artifact's dtype; `x dense` and gates on the size are relative to it.
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
        gzip_bytes: gzipped size of these tensors; None if it was not asked for.
    """

    dtype: str
    layout: str
    size_bytes: int
    gzip_bytes: int | None


@dataclass(frozen=True)
class Inspection:
    """Contents of a weights file.

    Attributes:
        kind: of file.
        dtype: number type of its weights.
        size_bytes: of the file.
        sha256: of the file.
        model: the summary upstream prints.
        names: class names.
        anchors: per level, (width, height) in input pixels.
        sparsity: fraction of the convolution weights that is zero.
        facts: other contents of the file, by name.
        layers: every convolution.
        recipe: the recipe that made it; None if compressor did not make it.
        sizes: of the file and of the same tensors stored densely, raw and gzipped; None if they were not asked for.
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
