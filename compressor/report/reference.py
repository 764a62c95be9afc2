"""Figures of a smaller model, to see whether compressing a large one is worth it."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from compressor.errors import Diagnostic, InputError
from compressor.files.reading import MEGABYTE, file_bytes
from compressor.results.alike import unlike_ways
from compressor.results.evaluation import EVALUATION_SCHEMA, CocoMetrics, DataSummary, EvaluationSettings, Metrics
from compressor.results.network import ModelSummary
from compressor.results.run import Reference

_COCO_VAL = ("coco.yaml", "val", 5000)  # source, split and images of the set that the published figures are of
_ORDER = "nsmlx"
_PUBLISHED_WAY = {"shapes": "rectangles", "image size": 640, "conf_thres": 0.001, "iou_thres": 0.65, "max_det": 300}
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
class _Evaluated:
    """The part of a document of `compressor evaluate --json` that is needed."""

    schema: str
    weights: str
    metrics: Metrics
    data: DataSummary
    settings: EvaluationSettings
    model: ModelSummary | None = None


_EVALUATED = TypeAdapter(_Evaluated)


def load_reference(file: Path, way: tuple[DataSummary, EvaluationSettings] | None) -> Reference:
    """Read the figures of a model that was evaluated before.

    Args:
        file: the output of `compressor evaluate --json`.
        way: the data and settings of this run; None skips the comparison with them.

    Raises:
        InputError: U901 there is no such file; U902 it has another format; U914 it is about other images or labels;
            U930 it was measured in another way.
    """
    help_text = "make it: compressor evaluate WEIGHTS --data YAML --json > FILE"
    try:
        found = _EVALUATED.validate_json(file_bytes(file, 64 * MEGABYTE))
        if found.schema != EVALUATION_SCHEMA:
            raise ValueError(f"its schema is {found.schema[:60]!r}, not {EVALUATION_SCHEMA!r}")
    except OSError as error:
        message = f"the reference cannot be read: {error.strerror or error}"
        raise InputError(Diagnostic("U901", message, str(file), help=help_text)) from error
    except (ValidationError, ValueError) as error:
        message = f"not what `compressor evaluate --json` prints: {str(error).splitlines()[0]}"
        raise InputError(Diagnostic("U902", message, str(file), help=help_text)) from error
    if way is not None:
        _check_alike(file, way, (found.data, found.settings))
    name = found.model.name if found.model else Path(found.weights).name
    return Reference(name, found.weights, found.metrics.coco)


def _check_alike(
    file: Path, way: tuple[DataSummary, EvaluationSettings], theirs: tuple[DataSummary, EvaluationSettings]
) -> None:
    if theirs[0].sha256 != way[0].sha256:
        message = f"the reference was evaluated on other images or labels ({theirs[0].source})"
        raise InputError(Diagnostic("U914", message, str(file), help="evaluate it again on the data of this run"))
    if different := unlike_ways((way, theirs)):
        message = f"the reference was not measured as this run is: {'; '.join(map(str, different))}"
        help_text = "evaluate it again as the recipe's `evaluation` says, with this version and on this device"
        raise InputError(Diagnostic("U930", message, str(file), help=help_text))


def published_reference(model: ModelSummary, data: DataSummary, settings: EvaluationSettings) -> Reference | None:
    """Published figures of the next smaller released size, if they were measured on the same data in the same way.

    They are published in tenths of a point, which the batch size and the number type do not change.
    """
    size = model.name.removeprefix("YOLOv5")
    if (data.source, data.split, data.images) != _COCO_VAL or size not in _ORDER or len(size) != 1:
        return None
    protocol = settings.protocol
    if data.ground_truth == "labels" or any(protocol[what] != value for what, value in _PUBLISHED_WAY.items()):
        return None
    smaller = _ORDER[_ORDER.index(size) - 1] if _ORDER.index(size) else ""
    figures = _PUBLISHED.get((model.generation, smaller))
    if figures is None:
        return None
    metrics = CocoMetrics(*(round(points / 100, 3) for points in figures), *([None] * 10))
    return Reference(f"YOLOv5{smaller}", f"published for YOLOv5 {model.generation}", metrics)
