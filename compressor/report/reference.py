"""Figures of a smaller model, to tell whether compressing a large one pays."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from compressor.errors import Diagnostic, InputError
from compressor.input_file import MEGABYTE, file_bytes
from compressor.results.judgement import EVALUATION_SCHEMA, CocoMetrics, DataSummary, Metrics
from compressor.results.network import ModelSummary
from compressor.results.run import Reference

_COCO_VAL = ("coco.yaml", "val", 5000)  # source, split and images of the set that the published figures are of
_ORDER = "nsmlx"
_PUBLISHED = {
    ("v5", "s"): (36.7, 55.4),
    ("v5", "m"): (44.5, 63.3),
    ("v5", "l"): (48.2, 66.9),
    ("v6", "n"): (28.0, 45.7),
    ("v6", "s"): (37.4, 56.8),
    ("v6", "m"): (45.4, 64.1),
    ("v6", "l"): (49.0, 67.3),
}  # AP and AP50 in points, from the README of YOLOv5's releases v5.0 and v7.0


@dataclass
class _Judged:
    """The part of `compressor evaluate --json` that is needed."""

    schema: str
    weights: str
    metrics: Metrics
    data: DataSummary
    model: ModelSummary | None = None


_JUDGED = TypeAdapter(_Judged)


def load_reference(file: Path, data: DataSummary | None) -> Reference:
    """A model that was judged before.

    Args:
        file: what `compressor evaluate --json` printed.
        data: what this run is judged on; None leaves the check for later.

    Raises:
        InputError: U901 there is no such file; U902 it is something else; U914 it is of other images or labels.
    """
    help_text = "make it: compressor evaluate WEIGHTS --data YAML --json > FILE"
    try:
        judged = _JUDGED.validate_json(file_bytes(file, 64 * MEGABYTE))
        if judged.schema != EVALUATION_SCHEMA:
            raise ValueError(f"its schema is {judged.schema[:60]!r}, not {EVALUATION_SCHEMA!r}")
    except OSError as fault:
        message = f"the reference cannot be read: {fault.strerror or fault}"
        raise InputError(Diagnostic("U901", message, str(file), help=help_text)) from fault
    except (ValidationError, ValueError) as fault:
        message = f"not what `compressor evaluate --json` prints: {str(fault).splitlines()[0]}"
        raise InputError(Diagnostic("U902", message, str(file), help=help_text)) from fault
    if data is not None and judged.data.sha256 != data.sha256:
        message = f"the reference was judged on other images or labels ({judged.data.source})"
        raise InputError(Diagnostic("U914", message, str(file), help="judge it again on the data of this run"))
    name = judged.model.name if judged.model else Path(judged.weights).name
    return Reference(name, judged.weights, judged.metrics.coco)


def published_reference(model: ModelSummary, data: DataSummary) -> Reference | None:
    """The next smaller released size, where the figures published of it are of the same data."""
    size = model.name.removeprefix("YOLOv5")
    if (data.source, data.split, data.images) != _COCO_VAL or size not in _ORDER or len(size) != 1:
        return None
    smaller = _ORDER[_ORDER.index(size) - 1] if _ORDER.index(size) else ""
    figures = _PUBLISHED.get((model.generation, smaller))
    if figures is None:
        return None
    metrics = CocoMetrics(*(round(points / 100, 3) for points in figures), *([None] * 10))
    return Reference(f"YOLOv5{smaller}", f"published for YOLOv5 {model.generation}", metrics)
