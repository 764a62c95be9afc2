"""Differences of runs in their recipes, figures, layers, sizes and speed, compared with the first run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from compressor.recipe.gates import METRICS
from compressor.report.diff_sides import TENSORS, Side, kept, masks
from compressor.report.intervals import Interval, paired, too_few_images
from compressor.report.metric_tables import interval_text
from compressor.report.tables import Table
from compressor.results.alike import unlike
from compressor.results.evaluation import Evaluation
from compressor.results.gates import class_figures, metric
from compressor.results.units import fraction, megabytes, milliseconds, percent, signed

if TYPE_CHECKING:
    from compressor.report.diff_sides import Masks

Part = Literal["recipe", "inputs", "metrics", "classes", "sizes", "layers", "speed", "environment"]
COUNTED: tuple[Part, ...] = ("recipe", "inputs", "metrics", "classes", "sizes", "layers")  # the others always differ
KNOWN_OF_ARTIFACTS: tuple[Part, ...] = ("recipe", "inputs", "sizes", "layers")
OF_FIGURES: tuple[Part, ...] = (
    "metrics",
    "classes",
)  # cannot be compared if they were measured differently
MOST_CLASSES = 20  # in a table; the JSON document has all


@dataclass(frozen=True)
class Difference:
    """A value that is not the same on all sides.

    Attributes:
        name: of the value.
        values: one per side; None where a side does not have it.
        intervals: of the difference from the first side, one for every other side; None where there is none.
        agreement: of layers, the fraction of weights that both keep or both drop, one for every other side; None where
            it is unknown.
    """

    name: str
    values: tuple[Any, ...]
    intervals: tuple[Interval | None, ...] = ()
    agreement: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All differences by part; parts that were not asked for are left out.

    Attributes:
        names: of the sides.
        parts: the differences of each part.
        counted: the parts in which a difference makes sides unequal.
        not_alike: how the figures of the sides were measured differently, in words; empty if no part has figures.
        without_interval: why differences of AP have no interval, if too few images hold objects; else empty.
    """

    names: tuple[str, ...]
    parts: dict[Part, tuple[Difference, ...]]
    counted: tuple[Part, ...] = COUNTED
    not_alike: tuple[Difference, ...] = ()
    without_interval: str = ""

    @property
    def equal(self) -> bool:
        """Whether no counted part differs: times and machines differ in every run and count only if asked for."""
        otherwise = any(value != each.values[0] for each in self.not_alike for value in each.values)
        return not otherwise and not any(self.parts.get(part) for part in self.counted)


def compare(sides: Sequence[Side], only: Sequence[Part] = ()) -> Comparison:
    """The differences between the first side and the others; an artifact alone is compared in the parts it has.

    Args:
        sides: at least two.
        only: the parts to compare; empty means all.
    """
    whole = all(side.whole for side in sides)
    found: dict[Part, Callable[[], Iterator[Difference]]] = {
        "recipe": lambda: _differences([dict(_flat(side.recipe)) for side in sides]),
        "inputs": lambda: _differences(_known([side.inputs for side in sides], whole)),
        "metrics": lambda: _metrics(sides),
        "classes": lambda: _classes(sides),
        "sizes": lambda: _differences(_known([side.sizes for side in sides], whole)),
        "layers": lambda: _layers(sides),
        "speed": lambda: _differences([_speed(side) for side in sides]),
        "environment": lambda: _differences([side.environment for side in sides]),
    }
    comparable = found if whole else KNOWN_OF_ARTIFACTS
    wanted = [part for part in found if part in comparable and (not only or part in only)]
    names = tuple(side.name for side in sides)
    parts = {part: tuple(found[part]()) for part in wanted}
    not_alike = tuple(_not_alike(sides)) if any(part in OF_FIGURES for part in wanted) else ()
    comparison = Comparison(names, parts, tuple(only) or COUNTED, not_alike, _without_interval(sides, parts))
    return replace(comparison, not_alike=()) if comparison.equal else comparison


def _without_interval(sides: Sequence[Side], parts: Mapping[Part, Sequence[Difference]]) -> str:
    """Why there is no interval: the reason of the first side with too few images; empty if there is none."""
    first, others = sides[0].after, [side.after for side in sides[1:]]
    if first is None or not any(each.name in ("AP", "AP50") for each in parts.get("metrics", ())):
        return ""
    return next(filter(None, (too_few_images(first, other) for other in others if other is not None)), "")


def _known(sides: Sequence[dict[str, Any]], whole: bool) -> list[dict[str, Any]]:
    """The values of the sides; only those that all have if one is not a `whole` run, and of tensors' digests always."""
    return [
        {
            name: value
            for name, value in side.items()
            if (whole and name != TENSORS) or all(each.get(name) is not None for each in sides)
        }
        for side in sides
    ]


def _differences(sides: Sequence[dict[str, Any]]) -> Iterator[Difference]:
    for name in dict.fromkeys(name for side in sides for name in side):
        values = tuple(side.get(name) for side in sides)
        if any(value != values[0] for value in values):
            yield Difference(name, values)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings and lists with dotted names; a list of plain values is one leaf."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for position, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}.{position}")
    else:
        yield prefix, value


def _metrics(sides: Sequence[Side]) -> Iterator[Difference]:
    """Figures of the compressed models, then of the models before, then of exported files."""
    evaluated = [_evaluations(side) for side in sides]
    for prefix in dict.fromkeys(key for each in evaluated for key in each):
        evaluations = [each.get(prefix) for each in evaluated]
        for difference in _differences([figures(each, prefix) for each in evaluations]):
            name = difference.name.removeprefix(prefix)
            intervals: tuple[Interval | None, ...] = ()
            if name in ("AP", "AP50"):
                intervals = tuple(paired(evaluations[0], each, name) for each in evaluations[1:])
            yield Difference(difference.name, difference.values, intervals)


def _evaluations(side: Side) -> dict[str, Evaluation | None]:
    exported = {f"{path} ": evaluation for path, evaluation in side.exports.items()}
    return {"": side.after, "before ": side.before, **exported}


def _not_alike(sides: Sequence[Side]) -> Iterator[Difference]:
    """How the sides were measured differently: models after, models before, then exports that several sides have."""
    evaluated = [_evaluations(side) for side in sides]
    listed = set()
    for prefix in dict.fromkeys(key for each in evaluated for key in each):
        evaluations = [each.get(prefix) for each in evaluated]
        for what, values in _ways(evaluations, needed=prefix in ("", "before ")):
            if (what, values) not in listed:  # the model before was mostly measured as the one after
                listed.add((what, values))
                yield Difference(f"{prefix}{what}", values)


def _ways(evaluations: Sequence[Evaluation | None], *, needed: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """How some evaluations were measured differently, in words; with `needed` also whether one is missing."""
    known = [each for each in evaluations if each is not None]
    if needed and known and len(known) < len(evaluations):
        yield "evaluated", tuple("no" if each is None else "yes" for each in evaluations)
    if len(known) > 1:
        for each in unlike(known):
            values = iter(each.values)
            yield each.what, tuple("-" if evaluation is None else next(values) for evaluation in evaluations)


def figures(evaluation: Evaluation | None, prefix: str = "") -> dict[str, float | None]:
    """The 12 figures of COCO and YOLOv5's own, by name; empty if nothing was evaluated."""
    if evaluation is None:
        return {}
    return {f"{prefix}{name}": metric(evaluation, name) for name in METRICS}


def _classes(sides: Sequence[Side]) -> Iterator[Difference]:
    """mAP50-95 of every class after the modifiers, the largest change first."""
    found = [class_figures(side.after) if side.after else {} for side in sides]
    if all(found):
        yield from sorted(_differences(found), key=lambda each: (-_largest_change(each.values), each.name))


def _largest_change(values: Sequence[float | None]) -> float:
    base = values[0]
    return max(1.0 if base is None or value is None else abs(value - base) for value in values[1:])


def _layers(sides: Sequence[Side]) -> Iterator[Difference]:
    """Sparsity of every layer whose zeros differ in number or position."""
    found = [{layer.name: (layer.zeros, layer.weights) for layer in side.layers} for side in sides]
    bits = [masks(side.artifact) if side.artifact else {} for side in sides]
    for name in dict.fromkeys(name for side in found for name in side):
        counts = [side.get(name) for side in found]
        agreement = tuple(_agreement(bits[0], other, name, counts[0]) for other in bits[1:])
        if any(each != counts[0] for each in counts) or any(each not in (None, 1.0) for each in agreement):
            values = tuple(None if each is None else each[0] / each[1] for each in counts)
            yield Difference(name, values, agreement=agreement)


def _agreement(a: Masks, b: Masks, name: str, counts: tuple[int, int] | None) -> float | None:
    if name not in a or name not in b or a[name].shape != b[name].shape or counts is None:
        return None
    return 1 - kept(a[name] ^ b[name]) / counts[1]


def _speed(side: Side) -> dict[str, float]:
    if side.after is None:
        return {}
    speed = side.after.speed
    return {"preprocess": speed.preprocess_ms, "inference": speed.inference_ms, "NMS": speed.nms_ms}


def comparison_tables(comparison: Comparison) -> list[tuple[str, Table]]:
    """Titled tables of the differences, first of those in how it was measured; equal parts are left out."""
    titles: dict[Part, tuple[str, str, Callable[[Any], str]]] = {
        "recipe": ("Recipe", "key", _text),
        "inputs": ("Inputs", "input", _text),
        "metrics": ("Metrics", "metric", fraction),
        "classes": ("Classes, mAP50-95", "class", fraction),
        "sizes": ("Sizes", "MB", lambda value: "-" if value is None else megabytes(value)),
        "layers": ("Layers", "sparsity of", lambda value: "-" if value is None else percent(value)),
        "speed": ("Speed", "ms per image", milliseconds),
        "environment": ("Environment", "", _text),
    }
    tables = []
    if comparison.not_alike:
        rows = tuple((each.name, *each.values) for each in comparison.not_alike)
        words = Table(("", *comparison.names), rows, text_columns=len(comparison.names) + 1)
        tables.append(("Not measured alike, so figures cannot be compared", words))
    for part, differences in comparison.parts.items():
        title, header, shown = titles[part]
        if differences:
            tables.append((title, _table(part, header, shown, comparison.names, differences)))
    return tables


@dataclass(frozen=True)
class _Columns:
    """Some columns of a table of differences.

    Attributes:
        headers: one per column.
        cells: the texts of a difference, one per column.
    """

    headers: tuple[str, ...]
    cells: Callable[[Difference], Sequence[str]]


def _table(
    part: Part, header: str, shown: Callable[[Any], str], names: tuple[str, ...], differences: tuple[Difference, ...]
) -> Table:
    """The values of all sides, and for figures the change against the first."""
    columns = tuple(_columns(part, shown, names, differences))
    rows = [(each.name, *chain.from_iterable(some.cells(each) for some in columns)) for each in differences]
    if part == "classes" and len(rows) > MOST_CLASSES:
        left_out = len(rows) - MOST_CLASSES
        rows = [*rows[:MOST_CLASSES], (f"and {left_out} more", *[""] * (len(rows[0]) - 1))]
    words = len(names) + 1 if part in ("recipe", "inputs", "environment") else 1
    return Table((header, *chain.from_iterable(some.headers for some in columns)), tuple(rows), text_columns=words)


def _columns(
    part: Part, shown: Callable[[Any], str], names: tuple[str, ...], differences: tuple[Difference, ...]
) -> Iterator[_Columns]:
    """The columns of a part: one per side, then those that compare every other side with the first."""
    yield _Columns(names, lambda each: [shown(value) for value in each.values])
    others = names[1:]
    several = len(others) > 1  # with two sides the header needs no name
    if part in ("metrics", "classes"):
        headers = tuple(f"{name}: change" if several else "change" for name in others)
        yield _Columns(headers, _changes)
    if any(interval for each in differences for interval in each.intervals):
        headers = tuple(f"{name}: 95 %" if several else "95 % interval" for name in others)
        yield _Columns(headers, lambda each: [interval_text(one) for one in each.intervals] or ["-"] * len(others))
    if part == "layers":
        headers = tuple(f"{name}: masks agree" if several else "masks agree" for name in others)
        yield _Columns(headers, lambda each: ["-" if one is None else percent(one) for one in each.agreement])


def _changes(difference: Difference) -> list[str]:
    base, *others = difference.values
    return [signed(_minus(value, base)) for value in others]


def _minus(b: float | None, a: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _text(value: Any) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
