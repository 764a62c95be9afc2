"""The next smaller YOLOv5, where the figures published of it are of the same data."""

from dataclasses import replace

import pytest

from compressor.report.reference import published_reference
from compressor.report.render import render_report
from compressor.results.evaluation import DataSummary, EvaluationSettings
from tests.report.made_up import full_record

WHOLE = DataSummary("coco.yaml", "val", 5000, 36335, 48, (), "instances_val2017.json", "0" * 64)

PLAIN = EvaluationSettings(640, 8, 0.001, 0.65, 300, "ceil", "cpu", "float32", shapes="rectangles", used_size=640)


@pytest.mark.parametrize(
    ("name", "generation", "smaller"),
    [
        ("YOLOv5x", "v6", ("YOLOv5l", 0.49, 0.673)),
        ("YOLOv5x", "v5", ("YOLOv5l", 0.482, 0.669)),
        ("YOLOv5s", "v6", ("YOLOv5n", 0.28, 0.457)),
        ("YOLOv5s", "v5", None),
        ("YOLOv5n", "v6", None),
        ("YOLOv5 (depth 0.33, width 0.125)", "v6", None),
    ],
)
def test_published_figures(name: str, generation: str, smaller: tuple[str, float, float] | None) -> None:
    model = replace(full_record().model, name=name, generation=generation)
    found = published_reference(model, WHOLE, PLAIN)
    figures = (found.name, found.metrics.AP, found.metrics.AP50) if found else None
    assert figures == smaller
    others = ({"images": 250}, {"source": "mine.yaml"}, {"split": "train"}, {"ground_truth": "labels"})
    for other in others:
        assert published_reference(model, replace(WHOLE, **other), PLAIN) is None
    for otherwise in (
        {"used_size": 320},
        {"conf_thres": 0.25},
        {"iou_thres": 0.45},
        {"max_det": 9},
        {"shapes": "squares"},
    ):
        assert published_reference(model, WHOLE, replace(PLAIN, **otherwise)) is None
    if found:
        assert f"{found.name} (published for YOLOv5 {generation})" in render_report(
            replace(full_record(), reference=found)
        )
