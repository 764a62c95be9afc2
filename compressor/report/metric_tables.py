"""Figures of evaluations as tables: accuracy and speed, before and after, of one model and of exported files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compressor.report.intervals import Interval, paired, quantile
from compressor.report.tables import Table
from compressor.results.evaluation import CocoMetrics, DataSummary, DetectionMetrics, Evaluation
from compressor.results.run import Agreement, Exported, Reference, Timing
from compressor.results.units import fraction, megabytes, milliseconds, signed

# name of the field, what pycocotools calls it
COCO_ROWS = (
    ("AP", "AP", "0.50:0.95", "all", "100"),
    ("AP50", "AP", "0.50", "all", "100"),
    ("AP75", "AP", "0.75", "all", "100"),
    ("APs", "AP", "0.50:0.95", "small", "100"),
    ("APm", "AP", "0.50:0.95", "medium", "100"),
    ("APl", "AP", "0.50:0.95", "large", "100"),
    ("AR1", "AR", "0.50:0.95", "all", "1"),
    ("AR10", "AR", "0.50:0.95", "all", "10"),
    ("AR100", "AR", "0.50:0.95", "all", "100"),
    ("ARs", "AR", "0.50:0.95", "small", "100"),
    ("ARm", "AR", "0.50:0.95", "medium", "100"),
    ("ARl", "AR", "0.50:0.95", "large", "100"),
)
DETECTION_ROWS = (("P", "P"), ("R", "R"), ("mAP50", "mAP50"), ("mAP50_95", "mAP50-95"))


def coco_table(before: Evaluation | None, after: Evaluation) -> Table:
    """The 12 COCO rows before and after, with change, share kept, and an interval of the change where it is known."""
    old, new = before.metrics.coco if before else None, after.metrics.coco
    intervals = {name: paired(before, after, name) for name in ("AP", "AP50")}
    rows = tuple((*row, *before_and_after(_value(old, row[0]), _value(new, row[0]))) for row in COCO_ROWS)
    headers = ("", "metric", "IoU", "area", "max dets", "before", "after", "change", "kept")
    if not any(intervals.values()):
        return Table(headers, rows, text_columns=4)
    with_intervals = tuple((*row, interval_text(intervals.get(row[0]))) for row in rows)
    return Table((*headers, "95 % interval"), with_intervals, text_columns=4)


def detection_table(before: Evaluation | None, after: Evaluation) -> Table:
    """P, R and mAP by YOLOv5's own metric."""
    old, new = before.metrics.detection if before else None, after.metrics.detection
    rows = tuple((label, *before_and_after(_value(old, key), _value(new, key))) for key, label in DETECTION_ROWS)
    return Table(("", "before", "after", "change", "kept"), rows)


def evaluation_coco_table(metrics: CocoMetrics) -> Table:
    """The 12 COCO rows of one model."""
    rows = tuple((*row, fraction(_value(metrics, row[0]))) for row in COCO_ROWS)
    return Table(("", "metric", "IoU", "area", "max dets", "value"), rows, text_columns=4)


def evaluation_detection_table(evaluation: Evaluation) -> Table:
    """YOLOv5's result line of one model: images, objects, P, R, mAP."""
    data, figures = evaluation.data, evaluation.metrics.detection
    row = (f"{data.images}", f"{data.instances}", *(fraction(_value(figures, key)) for key, _ in DETECTION_ROWS))
    return Table(("class", "images", "objects", *(label for _, label in DETECTION_ROWS)), (("all", *row),))


def not_evaluated_table(data: DataSummary) -> Table:
    """The objects of the ground truth that are not evaluated, by reason."""
    rows = tuple((each.because, each.named, each.located, f"{each.objects:,}") for each in data.not_evaluated)
    return Table(("not evaluated because", "objects of", "such as", "objects"), rows, text_columns=3)


def evaluation_speed_line(evaluation: Evaluation) -> str:
    """The speed line upstream prints since v6.0."""
    speed, settings = evaluation.speed, evaluation.settings
    steps = f"{speed.preprocess_ms:.1f} ms preprocess, {speed.inference_ms:.1f} ms inference, {speed.nms_ms:.1f} ms NMS"
    where = settings.device if settings.runs_on == "torch" else f"{settings.device} by {settings.runs_on}"
    how = f"{settings.precision} on {where}, {settings.shapes_in_words}, batch {settings.batch_size}"
    return f"Speed: {steps} per image ({how})"


def class_table(before: Evaluation | None, after: Evaluation) -> Table:
    """AP50-95 of every class with labelled objects, the largest loss first if both models were evaluated."""
    earlier = {entry.index: entry.AP50_95 for entry in before.metrics.classes} if before else {}
    entries = sorted(
        after.metrics.classes, key=lambda entry: (entry.AP50_95 - earlier.get(entry.index, 0.0), entry.index)
    )
    rows = tuple(
        (each.name, f"{each.images}", f"{each.instances}", *before_and_after(earlier.get(each.index), each.AP50_95))
        for each in entries
    )
    return Table(("class", "images", "objects", "before", "after", "change", "kept"), rows)


def extreme_class_table(before: Evaluation, after: Evaluation, count: int) -> Table:
    """The classes that lost most and those that lost least or gained, `count` of each."""
    table = class_table(before, after)
    gap = tuple("..." for _ in table.headers)
    return replace(table, rows=(*table.rows[:count], gap, *table.rows[-count:]))


def reference_table(reference: Reference, before: Evaluation | None, after: Evaluation) -> Table:
    """AP and AP50 of the model before and after, and of a smaller model."""
    models = [("before", before.metrics.coco)] if before else []
    models += [("after", after.metrics.coco), (f"{reference.name} ({reference.source})", reference.metrics)]
    rows = tuple((name, fraction(metrics.AP), fraction(metrics.AP50)) for name, metrics in models)
    return Table(("model", "AP", "AP50"), rows)


def speed_table(before: Evaluation | None, after: Evaluation, timing: Timing | None) -> Table:
    """Milliseconds per image: means over the evaluation, and median and quartiles if both were timed in turns."""
    steps = (("preprocess", "preprocess_ms"), ("inference", "inference_ms"), ("NMS", "nms_ms"))
    speeds = [before.speed if before else None, after.speed]
    rows = [(label, *(milliseconds(getattr(each, key) if each else None) for each in speeds)) for label, key in steps]
    if timing is not None and timing.before_ms:
        times = [sorted(timing.before_ms), sorted(timing.after_ms)]
        label = f"inference of one image, {timing.image_size} px, {len(times[0])} times in turns: "
        rows.append((f"{label}median", *(milliseconds(quantile(each, 0.5)) for each in times)))
        rows.append((f"{label}middle half", *(_middle_half(each) for each in times)))
    return Table(("ms per image", "before", "after"), tuple(rows))


def _middle_half(ordered: Sequence[float]) -> str:
    return f"{milliseconds(quantile(ordered, 0.25))} to {milliseconds(quantile(ordered, 0.75))}"


def exports_table(exports: Sequence[Exported], compressed: Evaluation | None) -> Table:
    """Every exported file: its differences from the model, and its figures by its own runtime.

    The model's AP is shown only if it was measured in the same way as the file's, so the change is never across two
    protocols.
    """
    rows = []
    for export in exports:
        settings = export.evaluation.settings if export.evaluation else None
        way = (settings.runs_on, settings.shapes_in_words) if settings else ("-", "-")
        gaps = _agreement(export.agreement)
        figures = _evaluated_export(export.evaluation, evaluated_alike(export, compressed))
        rows.append((export.path, *way, megabytes(export.size_bytes), *gaps, *figures))
    headers = ("file", "evaluated by", "on", "MB", "box gap, px", "probability gap")
    return Table((*headers, "AP of the model", "AP", "change", "ms inference"), tuple(rows), text_columns=3)


def evaluated_alike(export: Exported, compressed: Evaluation | None) -> Evaluation | None:
    """The model's evaluation in the same way as an exported file; None if the run holds no such evaluation."""
    if export.evaluation is None:
        return None
    wanted = export.evaluation.settings
    models = (export.model, compressed) if wanted.shapes else ()  # earlier versions did not record a graph's protocol
    return next((each for each in models if each and each.settings.protocol == wanted.protocol), None)


def _agreement(agreement: Agreement | None) -> tuple[str, str]:
    return (f"{agreement.pixels:.2g}", f"{agreement.probability:.2g}") if agreement else ("-", "-")


def _evaluated_export(evaluation: Evaluation | None, model: Evaluation | None) -> tuple[str, str, str, str]:
    if evaluation is None:
        return "-", "-", "-", "-"
    ap, ours = evaluation.metrics.coco.AP, model.metrics.coco.AP if model else None
    change = None if ap is None or ours is None else ap - ours
    return fraction(ours), fraction(ap), signed(change), milliseconds(evaluation.speed.inference_ms)


def before_and_after(before: float | None, after: float | None) -> tuple[str, str, str, str]:
    """Before, after, signed change and share kept as text; a dash where a figure is undefined."""
    change = None if before is None or after is None else after - before
    kept = None if before is None or after is None or before <= 0 else after / before
    return fraction(before), fraction(after), signed(change), "-" if kept is None else f"{100 * kept:.1f} %"


def interval_text(interval: Interval | None) -> str:
    """Both ends of an interval with signs; `-` if there is none."""
    return "-" if interval is None else f"{signed(interval.low)} to {signed(interval.high)}"


def _value(record: CocoMetrics | DetectionMetrics | None, name: str) -> float | None:
    value: float | None = None if record is None else getattr(record, name)
    return value
