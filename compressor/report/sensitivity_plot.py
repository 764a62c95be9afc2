"""The measured losses of every layer as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from compressor.report.canvas import canvas, is_made_by, png
from compressor.results.sensitivity import SensitivityTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SOFTWARE = "compressor sensitivity"  # written into the picture, by which it is recognised
_ROW = 0.17  # inches for one layer
_LETTERS = 110  # of a line above the marks
_MARKERS = "osD^vPX*"  # each sparsity has a colour and a shape
_LOSSES = {
    "output": "Change of the outputs",
    "ap": "AP lost",
}


def measured(table: SensitivityTable) -> str:
    """A line that says what the losses of a table are."""
    images = f"{table.images} image{'s' if table.images > 1 else ''}"
    how = "pruned and solved again" if table.repaired else "pruned"
    what = f"{_LOSSES.get(table.by, table.by)} where one layer alone is {how}"
    return f"{what}: {images}, score {table.score}, fuse {table.fuse}"


def sensitivity_png(table: SensitivityTable) -> bytes:
    """A PNG with a row per layer in model order and a mark per sparsity, on a logarithmic scale of the loss."""
    figure = canvas(10, 2.4 + _ROW * len(table.layers))
    axes = figure.add_subplot()
    _draw_losses(axes, table)
    _draw_layers(axes, table)
    what, _, how = measured(table).partition(": ")
    lines = (f"{Path(table.weights).name} on {table.data}", what, how)
    title = "\n".join(shorten(line, _LETTERS, placeholder=" ...") for line in lines)
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)
    return png(figure, _SOFTWARE)


def is_sensitivity_plot(path: Path) -> bool:
    """Whether a file is a picture that `sensitivity_png` made."""
    return is_made_by(path, _SOFTWARE)


def _draw_losses(axes: Axes, table: SensitivityTable) -> None:
    """Draw the marks, and a line through those of each layer."""
    from matplotlib import colormaps  # noqa: PLC0415  # takes half a second, and only pictures need it

    sparsities = sorted({sparsity for layer in table.layers for sparsity, _ in layer.points})
    floor = _floor([loss for layer in table.layers for _, loss in layer.points])
    for row, layer in enumerate(table.layers):
        shown = [max(loss, floor) for _, loss in layer.points]
        axes.plot([min(shown), max(shown)], [row, row], color="0.8", linewidth=1, zorder=1)
    for i, sparsity in enumerate(sparsities):
        marks = [(row, loss) for row, layer in enumerate(table.layers) for s, loss in layer.points if s == sparsity]
        colour = colormaps["viridis"](0.9 * i / max(len(sparsities) - 1, 1))
        faces = [colour if loss > 0 else (1.0, 1.0, 1.0, 1.0) for _, loss in marks]
        axes.scatter(
            [max(loss, floor) for _, loss in marks],
            [row for row, _ in marks],
            s=22,
            marker=_MARKERS[i % len(_MARKERS)],
            facecolors=faces,
            edgecolors=[colour],
            label=f"{100 * sparsity:g} % zeros",
            zorder=2,
        )
    axes.set_xscale("log")
    gains = any(loss <= 0 for layer in table.layers for _, loss in layer.points)
    axes.set_xlabel("loss; hollow marks at the left: none, or a gain" if gains else "loss")
    axes.grid(axis="x", color="0.9")
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.figure.legend(loc="outside lower center", ncols=min(len(sparsities), 8), fontsize=9, frameon=False)


def _draw_layers(axes: Axes, table: SensitivityTable) -> None:
    """Write the layers' names at the side, the network's input on top, and shade every other role."""
    count = len(table.layers)
    axes.set_yticks(range(count), [layer.name for layer in table.layers], fontsize=7)
    axes.set_ylim(count - 0.5, -0.5)
    runs = groupby(range(count), key=lambda row: table.layers[row].role)
    for i, (role, rows) in enumerate(runs):
        first, *others = rows
        last = [first, *others][-1]
        axes.axhspan(first - 0.5, last + 0.5, color="0.96" if i % 2 else "white", zorder=0)
        place = axes.get_yaxis_transform()
        axes.text(1.01, (first + last) / 2, role, transform=place, fontsize=8, verticalalignment="center")


def _floor(losses: Sequence[float]) -> float:
    """The position of a loss of zero or below on a logarithmic scale: left of all others."""
    return min((loss for loss in losses if loss > 0), default=1.0) / 2
