"""The plain ways of doing things that our own are measured against, written for this comparison alone."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from compressor.data.batches import BatchPlan
from compressor.evaluation.boxes import rescale_to_original, xywh_to_xyxy
from compressor.evaluation.coco import GroundTruth, Predictions, to_predictions
from compressor.jit import compiled
from compressor.models.detector import Detector
from compressor.models.families import family_of


@compiled
def nms_loop(boxes: NDArray[np.float32], iou_thres: np.float32) -> NDArray[np.int64]:
    """Greedy suppression as a C loop: every box that is kept is compared with all that come after it.

    Args:
        boxes: (n, 4) xyxy, best first.
        iou_thres: boxes that overlap a kept one by more go.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    gone = np.zeros(len(boxes), np.bool_)
    kept = np.empty(len(boxes), np.int64)
    count = 0
    nothing = np.float32(0)
    for i in range(len(boxes)):
        if gone[i]:
            continue
        kept[count] = i
        count += 1
        for j in range(i + 1, len(boxes)):
            if gone[j]:
                continue
            width = max(min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]), nothing)
            height = max(min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]), nothing)
            intersection = width * height
            if intersection / (areas[i] + areas[j] - intersection) > iou_thres:
                gone[j] = True
    return kept[:count]


def suppress(prediction: Tensor, conf_thres: float, iou_thres: float, max_det: int) -> Tensor:
    """(N, 5 + nc) to (n, 6), with torch's own operations and the loop."""
    return greedy(candidates(prediction, conf_thres), iou_thres, max_det)


def candidates(prediction: Tensor, conf_thres: float) -> Tensor:
    prediction = prediction[prediction[:, 4] > conf_thres]
    scores = prediction[:, 5:] * prediction[:, 4:5]
    row, category = (scores > conf_thres).nonzero(as_tuple=True)
    boxes = xywh_to_xyxy(prediction[:, :4])
    return torch.cat((boxes[row], scores[row, category, None], category[:, None].float()), dim=1)


def greedy(found: Tensor, iou_thres: float, max_det: int) -> Tensor:
    found = found[found[:, 4].argsort(descending=True, stable=True)[:30_000]]
    boxes = found[:, :4] + found[:, 5:] * 7680
    return found[nms_loop(boxes.numpy(), np.float32(iou_thres))[:max_det]]


def read(plan: BatchPlan, image_size: int) -> tuple[Tensor, list[tuple[float, tuple[float, float]]]]:
    """One batch, image after image; with the gain and the padding of each."""
    images, geometry = [], []
    for sample in plan.samples:
        image = cv2.imread(str(sample.image))
        assert image is not None
        height, width = image.shape[:2]
        ratio = image_size / max(height, width)
        if ratio != 1:
            how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, (math.ceil(width * ratio), math.ceil(height * ratio)), interpolation=how)
        dh, dw = ((wanted - found) / 2 for wanted, found in zip(plan.shape, image.shape[:2], strict=True))
        sides = (round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1))
        padded = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        images.append(np.ascontiguousarray(padded.transpose(2, 0, 1)[::-1]))
        geometry.append((image.shape[0] / height, (dw, dh)))
    return torch.from_numpy(np.stack(images)), geometry


def detect(model: Detector, plans: Sequence[BatchPlan], image_size: int) -> list[Tensor]:
    """Detections in original pixels, in the order of the plans."""
    found = []
    with torch.inference_mode():
        for plan in plans:
            images, geometry = read(plan, image_size)
            predictions = family_of(model).exported(model, model(images.float() / 255))
            for prediction, sample, (gain, pad) in zip(predictions, plan.samples, geometry, strict=True):
                kept = suppress(prediction, 0.001, 0.65, 300)
                boxes = rescale_to_original(kept[:, :4], (sample.height, sample.width), gain, pad)
                found.append(torch.cat((boxes, kept[:, 4:]), dim=1))
    return found


def coco_figures(truth: GroundTruth, predictions: Predictions) -> list[float]:
    """pycocotools, used as its documentation does."""
    columns = (
        np.array([predictions.image_ids[i] for i in predictions.image_index]),
        predictions.boxes,
        predictions.scores,
        np.array(truth.category_ids)[predictions.classes],
    )
    dataset: dict[str, Any] = {
        "images": list(truth.images),
        "annotations": list(truth.annotations),
        "categories": list(truth.categories),
    }
    with redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = dataset
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(np.column_stack(columns)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats]


def evaluate(model: Detector, plans: Sequence[BatchPlan], image_size: int, truth: GroundTruth) -> list[float]:
    """The 12 figures of a whole evaluation."""
    ids = dict(zip((record["file_name"] for record in truth.images), truth.image_ids, strict=True))
    found = detect(model, plans, image_size)
    order = [ids[sample.image.name] for plan in plans for sample in plan.samples]
    return coco_figures(truth, to_predictions(found, order))
