"""The pictures of a report: sparsity by layer, precision over recall, and AP by class."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from compressor.printable import printable
from compressor.report.canvas import canvas, png
from compressor.results.evaluation import Evaluation
from compressor.results.network import LayerSparsity
from compressor.results.run import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPARSITY, PRECISION_RECALL, CLASSES, EXAMPLES = "sparsity.png", "precision_recall.png", "classes.png", "examples.png"
_SOFTWARE = "compressor apply"
_BEFORE, _AFTER = "0.6", "#0b6fa4"
_MOST_CLASSES = 40  # beyond, a bar is too thin to read


def pictures(run: RunRecord) -> Iterator[tuple[str, bytes]]:
    """File names and PNG contents of all pictures for which the record has figures."""
    yield SPARSITY, sparsity_png(run.layers, run.sparsity.conv_weights)
    if run.compressed is None:
        return
    if run.compressed.precision_by_recall:
        yield PRECISION_RECALL, precision_recall_png(run.baseline, run.compressed)
    if run.compressed.metrics.classes:
        yield CLASSES, classes_png(run.baseline, run.compressed)


def sparsity_png(layers: tuple[LayerSparsity, ...], sparsity: float) -> bytes:
    """A bar per layer in model order, in shades by role, and a line at the mean.

    Args:
        layers: every convolution.
        sparsity: fraction of all convolution weights that is zero.
    """
    figure = canvas(10, 3.6)
    axes = figure.add_subplot()
    for i, (role, group) in enumerate(groupby(enumerate(layers), key=lambda each: each[1].role)):
        places = list(group)
        heights = [100 * layer.zeros / layer.weights for _, layer in places]
        axes.bar([place for place, _ in places], heights, width=0.85, color=f"C{i % 10}", label=role)
    mean = 100 * sparsity
    axes.axhline(mean, color="0.3", linewidth=1, linestyle="--")
    axes.set(
        xlim=(-0.8, len(layers) - 0.2), ylim=(0, 100), ylabel="% zeros", title=f"Zeros by layer; {mean:.1f} % in all"
    )
    step = max(1, len(layers) // 20)
    shown = range(0, len(layers), step)
    names = [layers[place].name.removeprefix("model.").removesuffix(".conv") for place in shown]
    axes.set_xticks(list(shown), names, rotation=60, ha="right", fontsize=8)
    axes.legend(fontsize=8, ncols=4, frameon=False, loc="upper left")
    return png(figure, _SOFTWARE)


def precision_recall_png(before: Evaluation | None, after: Evaluation) -> bytes:
    """Precision over recall at IoU 0.50, mean over the classes, before and after."""
    figure = canvas(6, 4.2)
    axes = figure.add_subplot()
    curves = (("before", before, _BEFORE, "--"), ("after", after, _AFTER, "-"))
    for label, evaluation, colour, style in curves:
        if evaluation is not None and evaluation.precision_by_recall:
            curve = evaluation.precision_by_recall
            recalls = [i / (len(curve) - 1) for i in range(len(curve))]
            area = evaluation.metrics.coco.AP50
            text = label if area is None else f"{label}: AP50 {area:.3f}"
            axes.plot(recalls, curve, color=colour, linestyle=style, linewidth=2, label=text)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", title="Precision over recall at IoU 0.50")
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    return png(figure, _SOFTWARE)


def classes_png(before: Evaluation | None, after: Evaluation) -> bytes:
    """mAP50-95 of each class, before as a ring and after as a dot; if there are many, of those that changed most."""
    earlier = {entry.index: entry.AP50_95 for entry in before.metrics.classes} if before else {}
    entries = sorted(
        after.metrics.classes, key=lambda entry: -abs(entry.AP50_95 - earlier.get(entry.index, entry.AP50_95))
    )[:_MOST_CLASSES]
    entries.sort(key=lambda entry: entry.AP50_95)
    figure = canvas(8, 1.4 + 0.21 * len(entries))
    axes = figure.add_subplot()
    for row, entry in enumerate(entries):
        old = earlier.get(entry.index)
        if old is not None:
            axes.plot([old, entry.AP50_95], [row, row], color="0.8", linewidth=2, zorder=1)
            axes.scatter([old], [row], s=26, facecolors="white", edgecolors=_BEFORE, zorder=2)
    axes.scatter([entry.AP50_95 for entry in entries], range(len(entries)), s=26, color=_AFTER, zorder=3)
    axes.set_yticks(range(len(entries)), [_plain(entry.name) for entry in entries], fontsize=8, parse_math=False)
    left_out = len(after.metrics.classes) - len(entries)
    more = f"; {left_out} classes that changed less are left out" if left_out else ""
    axes.set_title(f"mAP50-95 by class: ring before, dot after{more}", fontsize=10, loc="left")
    axes.set(xlim=(0, 1), ylim=(-0.7, len(entries) - 0.3))
    _grid(axes)
    return png(figure, _SOFTWARE)


def _grid(axes: Axes) -> None:
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)


def _plain(name: str) -> str:
    """A class name as one short line."""
    text = printable(name)
    return text if len(text) <= 24 else f"{text[:22]}..."
