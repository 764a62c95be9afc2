"""A run that never was, for pages to be made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compressor.results.changes import Change, LayerChange
from compressor.results.evaluation import (
    ClassMetrics,
    CocoMetrics,
    DataSummary,
    DetectionMetrics,
    Evaluation,
    EvaluationSettings,
    Metrics,
    NotEvaluated,
    ObjectCount,
    Resampled,
    Speed,
)
from compressor.results.files import FileDigest, FileSize, Sizes
from compressor.results.gates import verdicts
from compressor.results.network import LayerSparsity, ModelSummary, SparsitySummary
from compressor.results.run import Agreement, Environment, Exported, Reference, RunRecord, StepTime, Timing

GOLDEN = Path(__file__).parent / "golden"
CURVE = tuple(round(1 - (i / 100) ** 2, 6) for i in range(101))


def evaluation(ap: float | None, shift: float = 0.0) -> Evaluation:
    coco = CocoMetrics(ap, 0.6 + shift, 0.5 + shift, None, 0.4, 0.7, 0.3, 0.5, 0.6, None, 0.5, 0.8)
    classes = (
        ClassMetrics(0, "a|b", 3, 4, 0.9, 0.8, 0.7, 0.6 + shift),
        ClassMetrics(1, "two\nlines", 1, 1, 0.9, 0.8, 0.7, 0.5),
    )
    data = DataSummary("mine.yaml", "val", 40, 50, 10, ("x.jpg: left out, it is empty",), "labels", "cd" * 32)
    settings = EvaluationSettings(640, 8, 0.001, 0.65, 300, "ceil", "cpu", "float32")
    return Evaluation(
        Metrics(coco, DetectionMetrics(0.7, 0.6, 0.65, 0.4), classes), Speed(1.0, 20.0, 3.0), data, settings
    )


def drawn(known: Evaluation, shift: float) -> Evaluation:
    """The same with draws of the images and a curve."""
    draws = tuple(round(0.4 + shift * (1 + i / 10), 6) for i in range(10))
    return replace(
        known,
        resampled=Resampled(40, 0, (None, *draws), (None, *draws)),
        precision_by_recall=CURVE,
    )


def record() -> RunRecord:
    summary = ModelSummary("YOLOv5n", "v6", 2, True, 213, 1_763_224, 0, 4.2, (8, 16, 32))
    recipe = {"version": 1, "description": "A made-up\nrun.", "artifact": {"dtype": "float16", "layout": "bitmask"}}
    change = LayerChange("model.0.conv", "stem", (16, 3, 6, 6), 1728, 518, 1, 518)
    return RunRecord(
        name="made_up",
        command="compressor apply made_up.yaml",
        started="2026-01-02T03:04:05+00:00",
        duration_s=12.3,
        recipe=recipe,
        weights=FileDigest("best.pt", 4_000_000, "ab" * 32),
        model=summary,
        compressed_model=summary,
        changes=(Change("prune", "prune 30 % of the weights of 1 layers", (change,)),),
        layers=(LayerSparsity("model.0.conv", "stem", (16, 3, 6, 6), 1728, 518),),
        sparsity=SparsitySummary(0.3, 0.3, 0.299),
        sizes=Sizes(FileSize(4_000, 3_500), FileSize(7_000, 3_400), FileSize(3_600, 2_800), FileSize(2_800, 2_600)),
        baseline=evaluation(0.4),
        compressed=evaluation(0.3, -0.1),
        environment=Environment("0.1.0", "3.11", "Linux x86_64", "a processor", 2, "cpu", {"torch": "2.13.0"}),
        warnings=("x.jpg: left out, it is empty",),
        files=(FileDigest("model.safetensors", 2_800, "ef" * 32),),
    )


def full_record() -> RunRecord:
    """With everything that a run may have."""
    run = record()
    assert run.baseline is not None
    assert run.compressed is not None
    before, after = drawn(run.baseline, 0.0), drawn(run.compressed, -0.1)
    many = tuple(
        replace(entry, index=i, name=f"class {i}", AP50_95=0.5 + i / 100)
        for i, entry in enumerate(before.metrics.classes * 6)
    )
    fewer = tuple(replace(entry, AP50_95=0.5) for entry in many)
    before = replace(before, metrics=replace(before.metrics, classes=many))
    after = replace(after, metrics=replace(after.metrics, classes=fewer))
    dropped = NotEvaluated("category not a class", 3, (ObjectCount("a|c", 2), ObjectCount("d", 1)))
    after = replace(after, data=replace(after.data, objects=5, crowds=1, not_evaluated=(dropped,)))
    limited = replace(after.settings, conf_thres=0.25, iou_thres=0.45, shapes="squares", used_size=640)
    alike = replace(evaluation(0.28, -0.1), settings=replace(limited, most_per_class=300))
    graph = replace(after, settings=replace(alike.settings, runs_on="onnxruntime 1"))
    nms = {"conf_thres": 0.25, "iou_thres": 0.45, "max_det": 300}
    return replace(
        run,
        recipe={**run.recipe, "exports": [{"format": "onnx", "dynamic_size": False, "nms": nms}]},
        baseline=before,
        compressed=after,
        exports=(Exported("onnx", "model_nms.onnx", 7_900_000, Agreement(8, 0.00461, 6.1e-06), graph, alike),),
        gates=verdicts(("AP < -12", "kept.AP50 < 95", "APs < -1", "size > 90"), before, after, 0.7778),
        timing=Timing(640, tuple(20.0 + i for i in range(9)), tuple(20.5 + i for i in range(9))),
        steps=(
            StepTime("find best.pt", 0.01, 0.01),
            StepTime("evaluate before", 6.0, 11.5),
            StepTime("a|b", 4.0, 4.0),
            StepTime("", 2.29, 1.0),
        ),
        reference=Reference("YOLOv5s", "small.pt", CocoMetrics(0.35, 0.5, *([None] * 10))),
        files=(
            *run.files,
            *(
                FileDigest(f"{name}.png", 9, "0" * 64)
                for name in ("classes", "examples", "precision_recall", "sparsity")
            ),
        ),
    )


def assert_golden(text: str, name: str, update: bool) -> None:
    if update:
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")
