"""Text tables as Markdown or for the terminal, and those of networks, files, searches and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from compressor.printable import printable
from compressor.recipe.gates import parse_gate
from compressor.report.escape import inline
from compressor.results.changes import Rows
from compressor.results.files import GZIP_LEVEL, FileSize, Sizes, StoredLayer
from compressor.results.gates import Verdict
from compressor.results.network import LayerSparsity, ModelSummary, SparsitySummary
from compressor.results.run import Search, StepTime
from compressor.results.units import megabytes, percent

_SHOWN = 0.01  # of a run's time: steps that took less are not listed


@dataclass(frozen=True)
class Table:
    """Text cells. The first `text_columns` columns are words, aligned left; the others are numbers, aligned right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1

    def markdown(self) -> str:
        """A pipe table in Markdown. Headers and cells are escaped: they may hold names from strangers."""
        cells = [[inline(cell) for cell in row] for row in self.rows]
        return self._render("pipe", [inline(header) for header in self.headers], cells)

    def text(self) -> str:
        """Plain text for the terminal."""
        return self._render("simple", self.headers, self.rows)

    def _render(self, style: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        sides = ["left" if i < self.text_columns else "right" for i in range(len(headers))]
        colalign = sides if rows else None
        cells = [[printable(cell) for cell in row] for row in rows]
        return tabulate(
            cells,
            [printable(header) for header in headers],
            tablefmt=style,
            colalign=colalign,
            disable_numparse=True,
        )


def steps_table(steps: Sequence[StepTime]) -> Table:
    """The time of every step of a run; steps below 1 % of it and time outside of steps are summed up as `other`."""
    whole = sum(step.wall_s for step in steps)
    shown = [step for step in steps if step.name and step.wall_s >= _SHOWN * whole]
    rest = [step for step in steps if step not in shown]
    entries = [(step.name, step.wall_s, step.cpu_s) for step in shown]
    entries.append(("other", sum(step.wall_s for step in rest), sum(step.cpu_s for step in rest)))
    entries.append(("all", whole, sum(step.cpu_s for step in steps)))
    rows = tuple(
        (name, f"{wall:.1f}", f"{100 * wall / whole if whole else 0:.0f} %", f"{cpu:.1f}")
        for name, wall, cpu in entries
    )
    return Table(("step", "s", "share", "CPU s"), rows)


def model_table(before: ModelSummary, after: ModelSummary) -> Table:
    """The summary upstream prints, for both models."""
    rows = (
        ("layers", f"{before.layers:,}", f"{after.layers:,}"),
        ("parameters", f"{before.parameters:,}", f"{after.parameters:,}"),
        ("GFLOPs at 640 px", f"{before.gflops:.1f}", f"{after.gflops:.1f}"),
        ("BatchNorm", *("folded" if model.fused else "separate" for model in (before, after))),
    )
    return Table(("", "before", "after"), rows)


def sparsity_table(sparsity: SparsitySummary) -> Table:
    """The fraction of zeros, counted in three ways."""
    rows = (
        ("of the targeted weights", "-" if sparsity.targeted is None else percent(sparsity.targeted)),
        ("of all convolution weights", percent(sparsity.conv_weights)),
        ("of all parameters (as upstream counts)", percent(sparsity.all_parameters)),
    )
    return Table(("sparsity", "zero"), rows)


def size_table(sizes: Sizes, dtype: str) -> Table:
    """File sizes, raw and gzipped, each also as a multiple of the dense file of the same dtype."""
    dense = sizes.dense
    entries = (
        ("source checkpoint", sizes.source),
        ("dense, float32", sizes.dense_float32),
        (f"dense, {dtype}", dense),
        ("model.safetensors", sizes.artifact),
    )
    return _beside_dense(entries, dense, dtype)


def _beside_dense(entries: Sequence[tuple[str, FileSize]], dense: FileSize, dtype: str) -> Table:
    rows = tuple(
        (name, *_times(size.size_bytes, dense.size_bytes), *_times(size.gzip_bytes, dense.gzip_bytes))
        for name, size in entries
    )
    return Table(("file", "MB", f"x dense {dtype}", f"MB, gzip -{GZIP_LEVEL}", "x dense, gzipped"), rows)


def _times(size_bytes: int, dense_bytes: int) -> tuple[str, str]:
    """A size in MB, and as a multiple of the dense one."""
    return megabytes(size_bytes), f"{size_bytes / dense_bytes:.3f}"


def layer_table(layers: Sequence[LayerSparsity]) -> Table:
    """Every convolution with its zeros."""
    rows = tuple(map(_layer_cells, layers))
    return Table(("layer", "role", "shape", "weights", "zeros", "sparsity"), rows, text_columns=3)


def _layer_cells(layer: LayerSparsity) -> tuple[str, ...]:
    zeros = f"{layer.zeros:,}", percent(layer.zeros / layer.weights)
    return layer.name, layer.role, shape_text(layer.shape), f"{layer.weights:,}", *zeros


def shape_text(shape: Sequence[int]) -> str:
    """A tensor's shape in a table."""
    return " x ".join(map(str, shape))


def stored_layer_table(layers: Sequence[StoredLayer]) -> Table:
    """Every convolution with its zeros and its size in the file."""
    zeros = layer_table(layers)
    rows = tuple((*row, *_stored_cells(layer)) for row, layer in zip(zeros.rows, layers, strict=True))
    headers = (*zeros.headers, "dtype", "layout", "bytes")
    gzipped = any(layer.gzip_bytes is not None for layer in layers)
    return Table((*headers, "gzipped") if gzipped else headers, rows, text_columns=3)


def _stored_cells(layer: StoredLayer) -> tuple[str, ...]:
    cells = layer.dtype, layer.layout, f"{layer.size_bytes:,}"
    return cells if layer.gzip_bytes is None else (*cells, f"{layer.gzip_bytes:,}")


def stored_size_table(sizes: Sizes, dtype: str) -> Table:
    """The file compared with the same tensors stored densely: what the dtype saves, and what the zeros save."""
    dense = sizes.dense
    entries = (("dense, float32", sizes.dense_float32), (f"dense, {dtype}", dense), ("this file", sizes.artifact))
    return _beside_dense(entries, dense, dtype)


def verdict_text(verdict: Verdict) -> str:
    """A gate and its result, as a sentence."""
    gate = parse_gate(verdict.gate)
    if verdict.value is None:
        return f"{verdict.gate.strip()}: undecided, because {verdict.reason or f'{gate.quantity} is undefined'}"
    form, _, name = gate.quantity.rpartition(".")
    value = f"{verdict.value:.2f}"
    if name == "size":
        found = f"the size is {value} %"
    elif form == "kept":
        found = f"{value} % of {name} is kept"
    elif form == "after":
        found = f"{name} is {value} points"
    else:
        found = f"{name.replace('_', ' ')} changed by {verdict.value:+.2f} points"
    return f"{verdict.gate.strip()}: {found}"


def search_table(search: Search) -> Table:
    """Every sparsity that a search tried, in the order of the search."""
    rows = tuple(
        (
            "before the modifiers" if each.sparsity is None else percent(each.sparsity),
            "-" if each.images is None else f"{each.images:,}",
            "-" if each.AP is None else f"{each.AP:.4f}",
            "-" if each.size_bytes is None else f"{each.size_bytes:,}",
        )
        for each in search.tries
    )
    return Table(("sparsity", "images", "AP", "bytes"), rows)


def rows_table(change: Rows) -> Table:
    """The changes of a step, layer by layer."""
    total = (change.total,) if change.total else ()
    return Table(change.headers, (*change.cells, *total), text_columns=change.text_columns)
