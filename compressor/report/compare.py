"""Many runs in one table, and which of them are Pareto optimal: no other run beats them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from compressor.report.canvas import canvas, is_made_by, png
from compressor.report.escape import escaped
from compressor.report.tables import Table
from compressor.results.alike import alike, unlike
from compressor.results.evaluation import Evaluation
from compressor.results.gates import metric
from compressor.results.run import RunRecord
from compressor.results.units import fraction, megabytes, milliseconds, percent

COSTS = ("size", "sparsity", "latency")
PLOT = "pareto.png"
STAR = "* no other run has a higher AP at the same or a lower cost, or the same AP at a lower cost"
_SOFTWARE = "compressor compare"
_MEASURED_ALIKE_ANYWAY = ("size", "sparsity", "name")  # by which runs are sorted over all groups
_LETTERS = 26
_MOST_NAMES = 30  # next to points of a plot; more would overlap


@dataclass(frozen=True)
class Line:
    """One run.

    Attributes:
        name: differs from those of all other lines.
        run: its record.
        best: for each of `COSTS`, whether no other run of its group has a higher AP at the same or a lower cost.
        group: number of its group of runs that were measured alike, counted from 0 in the order of the lines; None for
            a run that was not evaluated. The order of lines has a meaning within a group only, see `overview`.
    """

    name: str
    run: RunRecord
    best: tuple[bool, ...]
    group: int | None = None


def overview(named: Sequence[tuple[str, RunRecord]], sort: str = "AP") -> tuple[Line, ...]:
    """A line per run, the best first; runs without the figure come last.

    Runs that were not measured alike are in different groups: no run beats one of another group, and a figure that
    depends on how it was measured sorts them within their groups only, the largest group first.

    Args:
        named: runs with names.
        sort: a metric (highest first), one of `COSTS` (lowest first, but sparsity highest first), or `name`.
    """
    groups = _groups([run.compressed for _, run in named])
    machines = [(group, _machine(run)) for group, (_, run) in zip(groups, named, strict=True)]
    fronts = [
        _front([(_ap(run), _cost(run, cost)) for _, run in named], machines if cost == "latency" else groups)
        for cost in COSTS
    ]
    best = list(zip(*fronts, strict=True))
    lines = [Line(name, run, flags, group) for (name, run), flags, group in zip(named, best, groups, strict=True)]
    sizes = Counter(groups)
    lines.sort(key=lambda line: _rank(line, sort))
    if sort not in _MEASURED_ALIKE_ANYWAY:
        lines.sort(key=lambda line: (line.group is None, -sizes[line.group], line.group or 0))
    order = {group: i for i, group in enumerate(dict.fromkeys(line.group for line in lines if line.group is not None))}
    return tuple(replace(line, group=None if line.group is None else order[line.group]) for line in lines)


def _groups(evaluations: Sequence[Evaluation | None]) -> list[int | None]:
    """The group number of each evaluation: it joins the first group that was measured like it, or starts a new one."""
    firsts: list[Evaluation] = []
    found: list[int | None] = []
    for each in evaluations:
        if each is None:
            found.append(None)
            continue
        group = next((i for i, first in enumerate(firsts) if alike(first, each)), len(firsts))
        if group == len(firsts):
            firsts.append(each)
        found.append(group)
    return found


def _machine(run: RunRecord) -> tuple[object, ...]:
    """The processor, its cores and the device of a run, on which its times depend."""
    return run.environment.processor, run.environment.cores, run.environment.device


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
    """A run's value of each of `COSTS`, lower is better; sparsity is negated."""
    if cost == "size":
        return float(run.sizes.artifact.size_bytes)
    if cost == "sparsity":
        return -run.sparsity.conv_weights
    return run.compressed.speed.inference_ms if run.compressed else None


def _front(points: Sequence[tuple[float | None, float | None]], groups: Sequence[object]) -> list[bool]:
    """Which points are Pareto optimal: no other of their group is as good in value and cost, and better in one."""

    def beats(a: tuple[float | None, float | None], b: tuple[float, float]) -> bool:
        if a[0] is None or a[1] is None:
            return False
        return a[0] >= b[0] and a[1] <= b[1] and (a[0], a[1]) != b

    return [
        value is not None
        and cost is not None
        and not any(
            beats(other, (value, cost)) for other, theirs in zip(points, groups, strict=True) if theirs == group
        )
        for (value, cost), group in zip(points, groups, strict=True)
    ]


def overview_table(lines: Sequence[Line]) -> Table:
    """The runs with their figures; a star marks a cost at which no other run beats their AP."""
    rows = []
    several = _several(lines)
    for line in lines:
        run, star = line.run, dict(zip(COSTS, line.best, strict=True))
        before, after = metric(run.baseline, "AP"), _ap(run)
        kept = None if before is None or after is None or before <= 0 or _changed_way(run) else after / before
        names = (line.name, run.model.name, letter(line)) if several else (line.name, run.model.name)
        rows.append(
            (
                *names,
                fraction(before),
                fraction(after),
                "-" if kept is None else f"{100 * kept:.1f} %",
                fraction(metric(run.compressed, "AP50")),
                _starred(percent(run.sparsity.conv_weights), star["sparsity"]),
                _starred(megabytes(run.sizes.artifact.size_bytes), star["size"]),
                _starred(milliseconds(run.compressed.speed.inference_ms if run.compressed else None), star["latency"]),
            )
        )
    headers = ("AP before", "AP", "kept", "AP50", "sparsity", "MB", "ms inference")
    words = ("run", "model", "measured as") if several else ("run", "model")
    return Table((*words, *headers), tuple(rows), text_columns=len(words))


def letter(line: Line) -> str:
    """The letter of a line's group: A, B and so on, numbers after Z."""
    if line.group is None:
        return "-"
    return chr(ord("A") + line.group) if line.group < _LETTERS else str(line.group + 1)


def _several(lines: Sequence[Line]) -> bool:
    return any(line.group for line in lines)


def _changed_way(run: RunRecord) -> bool:
    """Whether the two models of a run were not measured alike."""
    return run.baseline is not None and run.compressed is not None and not alike(run.baseline, run.compressed)


def _starred(text: str, best: bool) -> str:
    return f"{text} *" if best else text


def warnings_of(lines: Sequence[Line]) -> list[str]:
    """Reasons why figures of these runs cannot be compared with one another."""
    found = _group_warnings(lines) if _several(lines) else []
    found += [f"{line.name}: its two models were not measured alike." for line in lines if _changed_way(line.run)]
    found += [f"{line.name} was not evaluated." for line in lines if line.run.compressed is None]
    if len({_machine(line.run) for line in lines if line.run.compressed}) > 1:
        found.append("The runs were made on different machines, so their times cannot be compared.")
    return found


def _group_warnings(lines: Sequence[Line]) -> list[str]:
    """What the letters mean, and how the groups were measured differently."""
    firsts = {letter(line): line.run.compressed for line in reversed(lines) if line.run.compressed}
    letters = sorted(firsts, key=lambda name: (len(name), name))
    head = (
        "Runs with different letters were not measured alike: do not compare their figures; each letter has its own "
        "stars."
    )
    sentences = [head]
    for each in unlike([firsts[name] for name in letters]):
        values = ", ".join(f"{name}: {value}" for name, value in zip(letters, each.values, strict=True))
        sentences.append(f"Not the same: {each.what} ({values}).")
    return sentences


def pareto_png(lines: Sequence[Line]) -> bytes:
    """A PNG with AP against file size, sparsity and latency, one panel each; a line joins the Pareto-optimal runs."""
    figure = canvas(12, 4.2)
    shown = [line for line in lines if _ap(line.run) is not None]
    if not shown:
        figure.text(0.5, 0.5, nothing_to_draw(lines), ha="center")
        return png(figure, _SOFTWARE)
    panels: tuple[tuple[str, str, Callable[[RunRecord], float]], ...] = (
        ("size", "MB", lambda run: run.sizes.artifact.size_bytes / 1e6),
        ("sparsity", "% zeros", lambda run: 100 * run.sparsity.conv_weights),
        ("latency", "ms inference per image", lambda run: run.compressed.speed.inference_ms if run.compressed else 0.0),
    )
    for i, (cost, label, value) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        points = [(value(line.run), _ap(line.run) or 0.0, line) for line in shown]
        for front in fronts(points, i):
            axes.plot(*zip(*front, strict=True), color="#0b6fa4", linewidth=1.5, zorder=1)
        middle = (min(x for x, _, _ in points) + max(x for x, _, _ in points)) / 2
        for x, y, line in points:
            best = line.best[i]
            axes.scatter([x], [y], s=34, zorder=2, edgecolors="#0b6fa4", facecolors="#0b6fa4" if best else "white")
            if len(shown) <= _MOST_NAMES:
                right = x > middle
                axes.annotate(
                    f"{line.name} ({letter(line)})" if _several(shown) else line.name,
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


def nothing_to_draw(lines: Sequence[Line]) -> str:
    """Why a plot has no points."""
    if any(line.run.compressed for line in lines):
        return "none of these runs has an AP: there are no objects in their splits"
    return "none of these runs was evaluated"


def fronts(points: Sequence[tuple[float, float, Line]], cost: int) -> list[list[tuple[float, float]]]:
    """The Pareto-optimal points from left to right: a line per group, and for latency also per machine."""
    fronts: dict[object, list[tuple[float, float]]] = {}
    for x, y, line in points:
        if line.best[cost]:
            key = (line.group, _machine(line.run)) if COSTS[cost] == "latency" else line.group
            fronts.setdefault(key, []).append((x, y))
    return [sorted(front) for front in fronts.values()]


def is_plot(path: Path) -> bool:
    """Whether a file is a picture that `pareto_png` made."""
    return is_made_by(path, _SOFTWARE)


def overview_markdown(lines: Sequence[Line], title: str, plot: str | None) -> str:
    """The comparison as one page.

    Args:
        lines: the runs.
        title: heading.
        plot: file name of the picture in the same folder; None for no picture.
    """
    picture = f"![AP against size, sparsity and latency]({quote(plot)})\n\n" if plot else ""
    warnings = "".join(f"- {escaped(warning)}\n" for warning in warnings_of(lines))
    return f"# {escaped(title)}\n\n{overview_table(lines).markdown()}\n\n\\{STAR}\n\n{picture}{warnings}"
