"""Two runs side by side: what differs in their recipes, metrics, layers and sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from compressor.report.tables import (
    COCO_ROWS,
    DETECTION_ROWS,
    Table,
    fraction,
    megabytes,
    percent,
    signed,
)
from compressor.results.judgement import Evaluation
from compressor.results.network import LayerSparsity
from compressor.results.run import RunRecord


@dataclass(frozen=True)
class Difference:
    """One value that is not the same in both runs; None where a run does not have it."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Comparison:
    """All that differs between two runs. Times and environments are left out: they differ in every run.

    Attributes:
        recipe: dotted recipe keys.
        inputs: digests of weights and data.
        metrics: figures of the compressed models, and of the baselines as `baseline AP`.
        layers: convolutions whose number of zeros or weights differs, by name.
        sizes: bytes.
    """

    recipe: tuple[Difference, ...]
    inputs: tuple[Difference, ...]
    metrics: tuple[Difference, ...]
    layers: tuple[Difference, ...]
    sizes: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.recipe or self.inputs or self.metrics or self.layers or self.sizes)


def compare_runs(a: RunRecord, b: RunRecord) -> Comparison:
    """What differs between two runs."""
    return Comparison(
        recipe=_differences(dict(_flat(a.recipe)), dict(_flat(b.recipe))),
        inputs=_differences(_inputs(a), _inputs(b)),
        metrics=_differences(_all_metrics(a), _all_metrics(b)),
        layers=_differences(_layers(a.layers), _layers(b.layers)),
        sizes=_differences(_sizes(a), _sizes(b)),
    )


def comparison_tables(comparison: Comparison, a: str, b: str) -> list[tuple[str, Table]]:
    """Titled tables of what differs; parts that are equal are left out."""
    parts = [
        ("Recipe", _plain_table("key", comparison.recipe, a, b)),
        ("Inputs", _plain_table("input", comparison.inputs, a, b)),
        ("Metrics", _metric_table(comparison.metrics, a, b)),
        ("Sizes", _size_table(comparison.sizes, a, b)),
        ("Layers", _layer_table(comparison.layers, a, b)),
    ]
    return [(title, table) for title, table in parts if table.rows]


def _plain_table(header: str, differences: tuple[Difference, ...], a: str, b: str) -> Table:
    rows = tuple((d.name, _text(d.a), _text(d.b)) for d in differences)
    return Table((header, a, b), rows, text_columns=3)


def _metric_table(differences: tuple[Difference, ...], a: str, b: str) -> Table:
    rows = tuple((d.name, fraction(d.a), fraction(d.b), signed(_minus(d.b, d.a))) for d in differences)
    return Table(("metric", a, b, "change"), rows)


def _size_table(differences: tuple[Difference, ...], a: str, b: str) -> Table:
    rows = tuple((d.name, *("-" if v is None else megabytes(v) for v in (d.a, d.b))) for d in differences)
    return Table(("MB", a, b), rows)


def _layer_table(differences: tuple[Difference, ...], a: str, b: str) -> Table:
    rows = tuple(
        (d.name, *("-" if v is None else percent(v["zeros"] / v["weights"]) for v in (d.a, d.b))) for d in differences
    )
    return Table(("sparsity of", a, b), rows)


def _differences(a: dict[str, Any], b: dict[str, Any]) -> tuple[Difference, ...]:
    names = [*a, *(name for name in b if name not in a)]
    return tuple(Difference(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name))


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


def _inputs(run: RunRecord) -> dict[str, Any]:
    judged = run.compressed or run.baseline
    return {"weights sha256": run.weights.sha256, "data sha256": judged.data.sha256 if judged else None}


def _all_metrics(run: RunRecord) -> dict[str, float | None]:
    return {**_metrics(run.compressed, ""), **_metrics(run.baseline, "baseline ")}


def _metrics(evaluation: Evaluation | None, prefix: str) -> dict[str, float | None]:
    if evaluation is None:
        return {}
    coco, detection = evaluation.metrics.coco, evaluation.metrics.detection
    figures = {f"{prefix}{row[0]}": getattr(coco, row[0]) for row in COCO_ROWS}
    return figures | {f"{prefix}{label}": getattr(detection, key) for key, label in DETECTION_ROWS}


def _layers(layers: tuple[LayerSparsity, ...]) -> dict[str, dict[str, int]]:
    return {layer.name: {"weights": layer.weights, "zeros": layer.zeros} for layer in layers}


def _sizes(run: RunRecord) -> dict[str, int]:
    return {name.replace("_", " "): size["size_bytes"] for name, size in asdict(run.sizes).items()}


def _minus(b: float | None, a: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _text(value: Any) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
