"""Results as tables of text, and tables as Markdown or plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from compressor.printable import printable
from compressor.recipe.gates import parse_gate
from compressor.report.escape import inline
from compressor.report.intervals import Interval, paired, quantile
from compressor.results.evaluation import CocoMetrics, DataSummary, DetectionMetrics, Evaluation
from compressor.results.files import GZIP_LEVEL, FileSize, Sizes, StoredLayer
from compressor.results.gates import Verdict
from compressor.results.network import Change, LayerSparsity, ModelSummary, SparsitySummary
from compressor.results.plan import Plan, StageTime
from compressor.results.run import Agreement, Exported, Reference, Search, StepTime, Timing

_SHOWN = 0.01  # of a run's time: steps that took less are not listed


@dataclass(frozen=True)
class Table:
    """Text cells. The first `text_columns` columns are words and stand left, the rest are numbers and stand right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1

    def markdown(self) -> str:
        """A pipe table. Headers and cells, which may hold names from strangers, show just their text."""
        cells = [[inline(cell) for cell in row] for row in self.rows]
        return self._render("pipe", [inline(header) for header in self.headers], cells)

    def text(self) -> str:
        """For the terminal."""
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
    """The 12 COCO rows before, after, change, share kept, and an interval of the change where it is known."""
    old, new = before.metrics.coco if before else None, after.metrics.coco
    intervals = {name: paired(before, after, name) for name in ("AP", "AP50")}
    known = any(intervals.values())
    rows = tuple(
        (
            *(name, kind, iou, area, dets, *before_and_after(_value(old, name), _value(new, name))),
            *((interval_text(intervals.get(name)),) if known else ()),
        )
        for name, kind, iou, area, dets in COCO_ROWS
    )
    headers = ("", "metric", "IoU", "area", "max dets", "before", "after", "change", "kept")
    return Table((*headers, "95 % interval") if known else headers, rows, text_columns=4)


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
    """YOLOv5's line of one model: images, objects, P, R, mAP."""
    data, figures = evaluation.data, evaluation.metrics.detection
    row = (f"{data.images}", f"{data.instances}", *(fraction(_value(figures, key)) for key, _ in DETECTION_ROWS))
    return Table(("class", "images", "objects", *(label for _, label in DETECTION_ROWS)), (("all", *row),))


def not_evaluated_table(data: DataSummary) -> Table:
    """The objects of the ground truth that are in no figure, by reason."""
    rows = tuple((each.because, each.named, each.located, f"{each.objects:,}") for each in data.not_evaluated)
    return Table(("not evaluated, for", "objects of", "such as", "objects"), rows, text_columns=3)


def evaluation_speed_line(evaluation: Evaluation) -> str:
    """The speed line upstream prints since v6.0."""
    speed, judged = evaluation.speed, evaluation.settings
    steps = f"{speed.preprocess_ms:.1f} ms preprocess, {speed.inference_ms:.1f} ms inference, {speed.nms_ms:.1f} ms NMS"
    where = judged.device if judged.runs_on == "torch" else f"{judged.device} by {judged.runs_on}"
    how = f"{judged.precision} on {where}, {judged.shapes_in_words}, batch {judged.batch_size}"
    return f"Speed: {steps} per image ({how})"


def class_table(before: Evaluation | None, after: Evaluation) -> Table:
    """AP50-95 of every class with labelled objects, the largest loss first where both models were judged."""
    earlier = {entry.index: entry.AP50_95 for entry in before.metrics.classes} if before else {}
    entries = sorted(
        after.metrics.classes, key=lambda entry: (entry.AP50_95 - earlier.get(entry.index, 0.0), entry.index)
    )
    rows = tuple(
        (
            *(entry.name, f"{entry.images}", f"{entry.instances}"),
            *before_and_after(earlier.get(entry.index), entry.AP50_95),
        )
        for entry in entries
    )
    return Table(("class", "images", "objects", "before", "after", "change", "kept"), rows)


def extreme_class_table(before: Evaluation, after: Evaluation, count: int) -> Table:
    """The classes that lost most and those that lost least or gained, `count` of each."""
    table = class_table(before, after)
    gap = tuple("..." for _ in table.headers)
    return replace(table, rows=(*table.rows[:count], gap, *table.rows[-count:]))


def reference_table(reference: Reference, before: Evaluation | None, after: Evaluation) -> Table:
    """AP and AP50 of a smaller model beside those of the model before and after."""
    rows = [(f"{reference.name} ({reference.source})", reference.metrics)]
    told = (("before", before), ("after", after))
    rows = [*((name, each.metrics.coco) for name, each in told if each), *rows]
    cells = tuple((name, fraction(metrics.AP), fraction(metrics.AP50)) for name, metrics in rows)
    return Table(("model", "AP", "AP50"), cells)


def speed_table(before: Evaluation | None, after: Evaluation, timing: Timing | None) -> Table:
    """Milliseconds per image: means over the evaluation, and median and middle half where both were timed in turns."""
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


def steps_table(steps: Sequence[StepTime]) -> Table:
    """Where the time of a run went; what is below a hundredth of it, or belongs to no step, is summed up as `other`."""
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
    """Zeros three ways."""
    rows = (
        ("of the targeted weights", "-" if sparsity.targeted is None else percent(sparsity.targeted)),
        ("of all convolution weights", percent(sparsity.conv_weights)),
        ("of all parameters (as upstream counts)", percent(sparsity.all_parameters)),
    )
    return Table(("sparsity", "zero"), rows)


def size_table(sizes: Sizes, dtype: str) -> Table:
    """File sizes, raw and gzipped, each beside the dense file of the same dtype."""
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
        (
            *(name, megabytes(size.size_bytes), f"{size.size_bytes / dense.size_bytes:.3f}"),
            *(megabytes(size.gzip_bytes), f"{size.gzip_bytes / dense.gzip_bytes:.3f}"),
        )
        for name, size in entries
    )
    return Table(("file", "MB", f"x dense {dtype}", f"MB, gzip -{GZIP_LEVEL}", "x dense, gzipped"), rows)


def layer_table(layers: Sequence[LayerSparsity]) -> Table:
    """Every convolution with its zeros."""
    rows = tuple(
        (
            *(layer.name, layer.role, " x ".join(map(str, layer.shape))),
            *(f"{layer.weights:,}", f"{layer.zeros:,}", percent(layer.zeros / layer.weights)),
        )
        for layer in layers
    )
    return Table(("layer", "role", "shape", "weights", "zeros", "sparsity"), rows, text_columns=3)


def stored_layer_table(layers: Sequence[StoredLayer]) -> Table:
    """Every convolution with its zeros and what it takes in the file."""
    zeros, weighed = layer_table(layers), any(layer.gzip_bytes is not None for layer in layers)
    rows = tuple(
        (
            *(*row, layer.dtype, layer.layout, f"{layer.size_bytes:,}"),
            *((f"{layer.gzip_bytes:,}",) if layer.gzip_bytes is not None else ()),
        )
        for row, layer in zip(zeros.rows, layers, strict=True)
    )
    return Table((*zeros.headers, "dtype", "layout", "bytes", *(("gzipped",) if weighed else ())), rows, text_columns=3)


def stored_size_table(sizes: Sizes, dtype: str) -> Table:
    """The file beside its tensors stored densely: what the dtype saves, and what the zeros do."""
    dense = sizes.dense
    entries = (("dense, float32", sizes.dense_float32), (f"dense, {dtype}", dense), ("this file", sizes.artifact))
    return _beside_dense(entries, dense, dtype)


def verdict_text(verdict: Verdict) -> str:
    """One gate and what was found, in words."""
    gate = parse_gate(verdict.gate)
    if verdict.value is None:
        return f"{verdict.gate.strip()}: undecided, for {verdict.reason or f'{gate.quantity} is undefined'}"
    form, _, name = gate.quantity.rpartition(".")
    value = f"{verdict.value:.2f}"
    if name == "size":
        found = f"the size is {value} %"
    elif form == "kept":
        found = f"{value} % of {name} are kept"
    elif form == "after":
        found = f"{name} is {value} points"
    else:
        found = f"{name.replace('_', ' ')} changed by {verdict.value:+.2f} points"
    return f"{verdict.gate.strip()}: {found}"


def exports_table(exports: Sequence[Exported], compressed: Evaluation | None) -> Table:
    """Every exported file: how far it is from the model, and evaluated by its own runtime.

    The model's figures beside it are those that were measured just as the file's: no change across two protocols.
    """
    rows = tuple(
        (
            *(export.path, export.evaluation.settings.runs_on if export.evaluation else "-"),
            export.evaluation.settings.shapes_in_words if export.evaluation else "-",
            *(megabytes(export.size_bytes), *_agreement(export.agreement)),
            *_evaluated_export(export.evaluation, evaluated_alike(export, compressed)),
        )
        for export in exports
    )
    headers = ("file", "judged by", "on", "MB", "box gap, px", "probability gap")
    return Table((*headers, "AP of the model", "AP", "change", "ms inference"), rows, text_columns=3)


def evaluated_alike(export: Exported, compressed: Evaluation | None) -> Evaluation | None:
    """The model, evaluated just as an exported file was; None where the run holds no such evaluation."""
    if export.evaluation is None:
        return None
    wanted = export.evaluation.settings
    models = (export.model, compressed) if wanted.shapes else ()  # earlier versions do not tell the protocol of a graph
    return next((each for each in models if each and each.settings.protocol == wanted.protocol), None)


def _agreement(agreement: Agreement | None) -> tuple[str, str]:
    return (f"{agreement.pixels:.2g}", f"{agreement.probability:.2g}") if agreement else ("-", "-")


def _evaluated_export(evaluation: Evaluation | None, model: Evaluation | None) -> tuple[str, str, str, str]:
    if evaluation is None:
        return "-", "-", "-", "-"
    ap, ours = evaluation.metrics.coco.AP, model.metrics.coco.AP if model else None
    change = None if ap is None or ours is None else ap - ours
    return fraction(ours), fraction(ap), signed(change), milliseconds(evaluation.speed.inference_ms)


def search_table(search: Search) -> Table:
    """Every sparsity that a search tried, in its order."""
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


def plan_table(plan: Plan, change: Change) -> Table:
    """Every layer a step touches, with what it would leave and its share of the network's multiply-accumulates."""
    network = plan.network_macs
    rows = tuple(
        (
            *(layer.name, layer.role, " x ".join(map(str, layer.shape))),
            *(f"{layer.weights:,}", f"{layer.pruned:,}", percent(layer.sparsity)),
            percent(plan.macs[layer.name] / network),
        )
        for layer in change.layers
    )
    share = percent(sum(plan.macs[layer.name] for layer in change.layers) / network)
    total = (
        "total",
        "",
        "",
        f"{change.weights:,}",
        f"{change.pruned:,}",
        percent(change.zeros / change.weights),
        share,
    )
    headers = ("layer", "role", "shape", "weights", "pruned", "sparsity", "MACs")
    return Table(headers, (*rows, total), text_columns=3)


def macs_table(plan: Plan) -> Table:
    """How much of the network's arithmetic the recipe reaches."""
    network = plan.network_macs
    entries = (("all convolutions", network), ("targeted", plan.targeted_macs), ("with a zero weight", plan.zero_macs))
    rows = tuple((name, f"{macs / 1e9:.3f}", percent(macs / network)) for name, macs in entries)
    return Table((f"MACs at {plan.image_size} px", "GMACs", "share"), rows)


def predicted_size_table(plan: Plan) -> Table:
    """The saved file in every dtype and layout, the recipe's own marked."""
    dense = {size.dtype: size.size_bytes for size in plan.sizes if size.layout == "dense"}
    rows = tuple(
        (
            *(size.dtype, size.layout),
            *(megabytes(size.size_bytes), f"{size.size_bytes / dense[size.dtype]:.3f}"),
            "<- this recipe" if (size.dtype, size.layout) == (plan.dtype, plan.layout) else "",
        )
        for size in plan.sizes
    )
    return Table(("dtype", "layout", "MB", "x dense", ""), rows, text_columns=2)


def time_table(times: Sequence[StageTime]) -> Table:
    """About how long each stage takes, and all together."""
    rows = [(time.stage, time.basis, duration(time.seconds)) for time in times]
    known = [time.seconds for time in times if time.seconds is not None]
    total = duration(sum(known)) if len(known) == len(times) else f"more than {duration(sum(known))}"
    return Table(("stage", "measured on this machine", "about"), (*rows, ("total", "", total)), text_columns=2)


def before_and_after(before: float | None, after: float | None) -> tuple[str, str, str, str]:
    """Before, after, signed change, share kept; a dash where a figure is undefined."""
    change = None if before is None or after is None else after - before
    kept = None if before is None or after is None or before <= 0 else after / before
    return fraction(before), fraction(after), signed(change), "-" if kept is None else f"{100 * kept:.1f} %"


def interval_text(interval: Interval | None) -> str:
    """Both ends with signs; `-` where there is none."""
    return "-" if interval is None else f"{signed(interval.low)} to {signed(interval.high)}"


def fraction(value: float | None) -> str:
    """Three decimals, as pycocotools prints."""
    return "-" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Three decimals with a sign; no change has none."""
    if value is None:
        return "-"
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def percent(value: float) -> str:
    """Two decimals."""
    return f"{100 * value:.2f} %"


def megabytes(size_bytes: int) -> str:
    """MB of 1,000,000 bytes, three decimals."""
    return f"{size_bytes / 1e6:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds to two digits, or minutes."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def milliseconds(value: float | None) -> str:
    """One decimal."""
    return "-" if value is None else f"{value:.1f}"


def _value(record: CocoMetrics | DetectionMetrics | None, name: str) -> float | None:
    value: float | None = None if record is None else getattr(record, name)
    return value
