"""Many runs in one table, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.report.canvas import canvas, is_made_by, png
from compressor.report.tables import Table, fraction, megabytes, milliseconds, percent
from compressor.results.gates import metric
from compressor.results.run import RunRecord

COSTS = ("size", "sparsity", "latency")
PLOT = "pareto.png"
STAR = "* no other run has a higher AP at as low a cost, or as high an AP at a lower one"
_SOFTWARE = "compressor compare"
_MOST_NAMES = 30  # beside points of a plot; more would cover one another


@dataclass(frozen=True)
class Line:
    """One run.

    Attributes:
        name: that tells it from the others.
        run: its record.
        best: for each of `COSTS`, whether no other run has a higher AP at as low a cost.
    """

    name: str
    run: RunRecord
    best: tuple[bool, ...]


def overview(named: Sequence[tuple[str, RunRecord]], sort: str = "AP") -> tuple[Line, ...]:
    """A line per run, the best first; runs without the figure come last.

    Args:
        named: runs with names.
        sort: a metric, of which the highest is best; one of `COSTS`, the lowest, of sparsity the highest; or `name`.
    """
    fronts = [_front([(_ap(run), _cost(run, cost)) for _, run in named]) for cost in COSTS]
    best = list(zip(*fronts, strict=True))
    lines = [Line(name, run, flags) for (name, run), flags in zip(named, best, strict=True)]
    return tuple(sorted(lines, key=lambda line: _rank(line, sort)))


def _rank(line: Line, sort: str) -> tuple[bool, float, str]:
    if sort == "name":
        return False, 0.0, line.name
    value = _cost(line.run, sort) if sort in COSTS else metric(line.run.compressed, sort)
    if value is None:
        return True, 0.0, line.name
    return False, value if sort in COSTS else -value, line.name


def _ap(run: RunRecord) -> float | None:
    return metric(run.compressed, "AP")


def _cost(run: RunRecord, cost: str) -> float | None:
    """What should be low; sparsity is turned round."""
    if cost == "size":
        return float(run.sizes.artifact.size_bytes)
    if cost == "sparsity":
        return -run.sparsity.conv_weights
    return run.compressed.speed.inference_ms if run.compressed else None


def _front(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Which points no other beats: with a value as high at a cost as low, and one of the two better."""

    def beats(a: tuple[float | None, float | None], b: tuple[float, float]) -> bool:
        if a[0] is None or a[1] is None:
            return False
        return a[0] >= b[0] and a[1] <= b[1] and (a[0], a[1]) != b

    return [
        value is not None and cost is not None and not any(beats(other, (value, cost)) for other in points)
        for value, cost in points
    ]


def overview_table(lines: Sequence[Line]) -> Table:
    """The runs with their figures; a star marks those that no other beats in AP against the cost."""
    rows = []
    for line in lines:
        run, star = line.run, dict(zip(COSTS, line.best, strict=True))
        before, after = metric(run.baseline, "AP"), _ap(run)
        kept = None if before is None or after is None or before <= 0 else after / before
        rows.append(
            (
                *(line.name, run.model.name),
                *(fraction(before), fraction(after), "-" if kept is None else f"{100 * kept:.1f} %"),
                fraction(metric(run.compressed, "AP50")),
                _starred(percent(run.sparsity.conv_weights), star["sparsity"]),
                _starred(megabytes(run.sizes.artifact.size_bytes), star["size"]),
                _starred(milliseconds(run.compressed.speed.inference_ms if run.compressed else None), star["latency"]),
            )
        )
    headers = ("run", "model", "AP before", "AP", "kept", "AP50", "sparsity", "MB", "ms inference")
    return Table(headers, tuple(rows), text_columns=2)


def _starred(text: str, best: bool) -> str:
    return f"{text} *" if best else text


def warnings_of(lines: Sequence[Line]) -> list[str]:
    """Why figures of these runs may not be compared with one another."""
    told: list[tuple[str, Callable[[RunRecord], object]]] = [
        ("were judged on different images or labels", lambda run: run.compressed and run.compressed.data.sha256),
        ("were judged at different settings", lambda run: run.compressed and _settings(run)),
        ("were made on different machines, so do not compare their times", lambda run: run.environment.processor),
    ]
    judged = [line.run for line in lines if line.run.compressed]
    return [f"The runs {what}." for what, key in told if len({key(run) for run in judged}) > 1]


def _settings(run: RunRecord) -> object:
    assert run.compressed is not None  # only such are asked
    settings = run.compressed.settings
    return settings.image_size, settings.conf_thres, settings.iou_thres, settings.max_det, settings.resize


def pareto_png(lines: Sequence[Line]) -> bytes:
    """AP against file size, sparsity and latency, one panel each; a line joins the runs that no other beats."""
    figure = canvas(12, 4.2)
    shown = [line for line in lines if _ap(line.run) is not None]
    if not shown:
        figure.text(0.5, 0.5, "none of these runs was judged", ha="center")
        return png(figure, _SOFTWARE)
    panels: tuple[tuple[str, str, Callable[[RunRecord], float]], ...] = (
        ("size", "MB", lambda run: run.sizes.artifact.size_bytes / 1e6),
        ("sparsity", "% zeros", lambda run: 100 * run.sparsity.conv_weights),
        ("latency", "ms inference per image", lambda run: run.compressed.speed.inference_ms if run.compressed else 0.0),
    )
    for i, (cost, label, value) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        points = [(value(line.run), _ap(line.run) or 0.0, line) for line in shown]
        front = sorted((x, y) for x, y, line in points if line.best[i])
        axes.plot(*zip(*front, strict=True), color="#0b6fa4", linewidth=1.5, zorder=1) if front else None
        middle = (min(x for x, _, _ in points) + max(x for x, _, _ in points)) / 2
        for x, y, line in points:
            best = line.best[i]
            axes.scatter([x], [y], s=34, zorder=2, edgecolors="#0b6fa4", facecolors="#0b6fa4" if best else "white")
            if len(shown) <= _MOST_NAMES:
                right = x > middle
                axes.annotate(
                    line.name,
                    (x, y),
                    xytext=(-4 if right else 4, 4),
                    textcoords="offset points",
                    ha="right" if right else "left",
                    fontsize=7,
                    parse_math=False,
                )
        axes.set(xlabel=label, ylabel="AP" if i == 0 else "")
        axes.set_title(f"AP against {cost}", fontsize=10)
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.margins(0.12)
    return png(figure, _SOFTWARE)


def is_plot(path: Path) -> bool:
    """Whether a file is a picture that `pareto_png` made."""
    return is_made_by(path, _SOFTWARE)


def overview_markdown(lines: Sequence[Line], title: str, plot: str | None) -> str:
    """The comparison as one page.

    Args:
        lines: the runs.
        title: heading.
        plot: file name of the picture beside it; None for none.
    """
    picture = f"![AP against size, sparsity and latency]({plot})\n\n" if plot else ""
    warnings = "".join(f"- {warning}\n" for warning in warnings_of(lines))
    return f"# {title}\n\n{overview_table(lines).markdown()}\n\n\\{STAR}\n\n{picture}{warnings}"
