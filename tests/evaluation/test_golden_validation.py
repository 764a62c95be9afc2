"""From network outputs to the figures of a whole validation, against upstream's."""

import gzip
import json
import math
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from compressor.data.dataset import Sample
from compressor.evaluation.annotated import ground_truth_from_annotations
from compressor.evaluation.boxes import rescale_to_original, xywh_to_xyxy
from compressor.evaluation.coco import (
    COCO_CATEGORY_IDS,
    COCO_NAMES,
    to_predictions,
    write_predictions,
)
from compressor.evaluation.coco_engine import evaluate_coco
from compressor.evaluation.coco_figures import coco_metrics
from compressor.evaluation.detection_metrics import per_class, summarise
from compressor.evaluation.matching import match
from compressor.evaluation.nms import non_max_suppression
from compressor.models.yolov5.detect import scored


@pytest.fixture(scope="session")
def validation(golden: Path) -> Any:
    return json.loads(gzip.decompress((golden / "val_e2e.json.gz").read_bytes()))


def samples_in_order(validation: Any) -> list[Sample]:
    samples = []
    for stem in validation["order"]:
        width, height = validation["image_sizes_wh"][int(stem)]
        rows = [line.split() for line in (validation["label_files"][int(stem)] or "").splitlines()]
        labels = np.array(rows, dtype=np.float32).reshape(-1, 5)
        samples.append(Sample(image=Path(f"{stem}.png"), width=width, height=height, labels=labels))
    return samples


def letterbox(sample: Sample, batch: list[Sample]) -> tuple[float, float, tuple[float, float], tuple[int, int]]:
    """Gains by height and width, unrounded padding and (height, width) of the batch, for 640 px."""
    ratios = [s.height / s.width for s in batch]
    rows, columns = max(ratios) if max(ratios) < 1 else 1, 1 / min(ratios) if min(ratios) > 1 else 1
    shape = math.ceil(rows * 640 / 32 + 0.5) * 32, math.ceil(columns * 640 / 32 + 0.5) * 32
    scale = 640 / max(sample.width, sample.height)
    height, width = int(sample.height * scale), int(sample.width * scale)
    pad = ((shape[1] - width) / 2, (shape[0] - height) / 2)
    return height / sample.height, width / sample.width, pad, shape


def native_labels(sample: Sample, batch: list[Sample]) -> Tensor:
    """Labels in original pixels, by the way of the letterboxed image as upstream's go."""
    gain, gain_x, pad, (height, width) = letterbox(sample, batch)
    labels = torch.from_numpy(sample.labels)
    scale = torch.tensor([gain_x * sample.width, gain * sample.height]).repeat(2)
    corners = xywh_to_xyxy(labels[:, 1:]) * scale + torch.tensor(pad).repeat(2)
    edge = torch.tensor([width, height]).repeat(2) - 0.001
    boxes = rescale_to_original(corners.clamp(min=0).minimum(edge), (sample.height, sample.width), gain, pad)
    return torch.cat((labels[:, :1], boxes), dim=1)


@pytest.mark.parametrize("run", [0, 1])
def test_a_whole_validation_is_upstreams(golden: Path, validation: Any, tmp_path: Path, run: int) -> None:
    expected = validation["runs"][run]
    outputs = load_file(golden / "val_e2e.safetensors")
    samples = samples_in_order(validation)
    detections, true_positives = [], []
    for index, sample in enumerate(samples):
        batch = samples[index // 4 * 4 : index // 4 * 4 + 4]
        gain, _, pad, _ = letterbox(sample, batch)
        prediction = scored(outputs[f"pred.{sample.image.stem}"][None])
        (found,) = non_max_suppression(prediction, conf_thres=0.001, iou_thres=expected["iou_thres"])
        boxes = rescale_to_original(found[:, :4], (sample.height, sample.width), gain, pad)
        detections.append(torch.cat((boxes, found[:, 4:]), dim=1))
        true_positives.append(match(detections[-1], native_labels(sample, batch)))

    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps(validation["coco_annotations"]))
    truth = ground_truth_from_annotations(annotations, samples, COCO_NAMES)
    assert truth.category_ids == COCO_CATEGORY_IDS
    predictions = to_predictions(detections, truth.image_ids)
    write_predictions(predictions, truth.category_ids, tmp_path / "predictions.json")
    assert json.loads((tmp_path / "predictions.json").read_text()) == expected["coco_json"]
    assert astuple(coco_metrics(evaluate_coco(truth, predictions))) == pytest.approx(
        [figure if figure >= 0 else None for figure in expected["coco_stats"]], rel=0, abs=1e-9
    )

    own = expected["own"]["v6.2-v7.0"]
    tp = torch.cat(true_positives).numpy()
    assert tp.sum(axis=0).tolist() == own["tp_column_sums"]
    rows = torch.cat(detections).numpy()
    figures = per_class(tp, rows[:, 4], rows[:, 5], np.concatenate([sample.labels[:, 0] for sample in samples]))
    means, classes = summarise(figures, COCO_NAMES, dict.fromkeys(range(80), 1))
    assert astuple(means) == pytest.approx(own["p_r_map50_map"], rel=0, abs=1e-9)
    for key, name in (("classes", "index"), ("p", "P"), ("r", "R"), ("ap50", "AP50"), ("ap", "AP50_95")):
        assert [getattr(c, name) for c in classes] == pytest.approx(own[key], rel=0, abs=1e-9)
