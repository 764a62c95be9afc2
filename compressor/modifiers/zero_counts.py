"""The zeros of layers as rows of a table; needs no torch."""

from __future__ import annotations

from compressor.results.changes import Change, LayerChange, Rows


def zero_rows(change: Change) -> Rows:
    """Every layer with its weights, those that the masks drop, and its sparsity afterwards."""
    share = f"{100 * change.zeros / change.weights:.2f} %" if change.weights else "-"
    total = ("total", "", "", f"{change.weights:,}", f"{change.pruned:,}", share)
    headers = ("layer", "role", "shape", "weights", "pruned", "sparsity")
    return Rows(headers, tuple(map(_row, change.layers)), total)


def _row(layer: LayerChange) -> tuple[str, ...]:
    shape, sparsity = " x ".join(map(str, layer.shape)), f"{100 * layer.sparsity:.2f} %"
    return (layer.name, layer.role, shape, f"{layer.weights:,}", f"{layer.pruned:,}", sparsity)
