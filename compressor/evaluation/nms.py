"""Non-maximum suppression: from decoded predictions to at most `max_det` detections per image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.evaluation.boxes import xywh_to_xyxy

Float32 = NDArray[np.float32]


def non_max_suppression(
    predictions: Tensor,
    *,
    conf_thres: float,
    iou_thres: float,
    max_det: int = 300,
    max_nms: int = 30_000,
    max_wh: int = 7680,
    multi_label: bool = True,
    class_agnostic: bool = False,
) -> list[Tensor]:
    """Detections of each image, the bits and the order of upstream's v6.1 to v7.0 without its time limit.

    Classes are kept apart by adding class x max_wh to all coordinates in float32, as upstream does: far classes have
    their coordinates rounded, which decides close calls. A score that is not a number is above no threshold; a box
    that is not neither suppresses nor is suppressed, and is returned for the caller to see.

    Args:
        predictions: (B, N, 5 + nc), any float type and device: centre x, centre y, width, height, objectness, class
            probabilities not yet multiplied by objectness. Half precision is taken to float32 first.
        conf_thres: least objectness and least score, exclusive.
        iou_thres: a box overlapping a better one by more than this is dropped.
        max_det: most detections per image.
        max_nms: candidates per image that enter, best first.
        max_wh: distance in pixels between the classes.
        multi_label: one candidate per box and class; otherwise the best class only. Means nothing for one class.
        class_agnostic: boxes suppress those of other classes too.

    Returns:
        One (n, 6) float32 tensor per image, on the CPU: x1, y1, x2, y2, score, class; by descending score, equal
        scores in the order of the rows.
    """
    multi_label = multi_label and predictions.shape[2] > 6
    results = []
    for prediction in predictions:
        candidates = _candidates(prediction.float(), conf_thres, max_nms, multi_label).cpu()
        offset = candidates[:, 5:] * (0 if class_agnostic else max_wh)
        kept = greedy_nms((candidates[:, :4] + offset).numpy(), iou_thres, max_det)
        results.append(candidates[kept])
    return results


def _candidates(prediction: Tensor, conf_thres: float, max_nms: int, multi_label: bool) -> Tensor:
    """(N, 5 + nc) to the best (n, 6) rows x1, y1, x2, y2, score, class, by descending score, stable."""
    prediction = prediction[prediction[:, 4] > conf_thres]
    boxes, scores = xywh_to_xyxy(prediction[:, :4]), prediction[:, 5:] * prediction[:, 4:5]
    if multi_label:
        row, category = (scores > conf_thres).nonzero(as_tuple=True)
    else:
        best, category = scores.max(dim=1)
        row = (best > conf_thres).nonzero()[:, 0]
        category = category[row]
    score = scores[row, category]
    order = score.argsort(descending=True, stable=True)[:max_nms]
    row, category, score = row[order], category[order], score[order]
    return torch.cat((boxes[row], score[:, None], category[:, None].float()), dim=1)


def greedy_nms(boxes: Float32, iou_thres: float, max_det: int) -> list[int]:
    """Rows that survive greedy suppression: a box goes when its IoU with a kept, earlier one is above the threshold.

    The result is that of the plain double loop. Only boxes whose x ranges overlap can overlap, and with the boxes in
    order of x1 these lie in one short stretch, the more so as the class offset has moved the classes apart.

    Args:
        boxes: (n, 4) xyxy, best first.
        iou_thres: at least 0; compared with the float32 IoU as a double.
        max_det: stop when so many are kept.

    Returns:
        Kept rows in order.
    """
    limit = float32_at_most(iou_thres)
    by_x1 = np.argsort(boxes[:, 0], kind="stable")
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[by_x1].T)
    reach = np.maximum.accumulate(x2)  # no box up to here ends further right
    place = np.empty(len(boxes), dtype=np.int64)
    place[by_x1] = np.arange(len(boxes))
    suppressed = np.zeros(len(boxes), dtype=bool)
    flags = suppressed.data  # reads one element several times faster than the array
    kept: list[int] = []
    with np.errstate(all="ignore"):  # boxes without area give 0 / 0, and NaN suppresses nothing
        area = (x2 - x1) * (y2 - y1)
        for row, k in enumerate(place.tolist()):
            if len(kept) == max_det:
                break
            if flags[k]:
                continue
            kept.append(row)
            near = slice(reach.searchsorted(x1[k], "right"), x1.searchsorted(x2[k], "left"))
            width = np.minimum(x2[near], x2[k]) - np.maximum(x1[near], x1[k])
            height = np.minimum(y2[near], y2[k]) - np.maximum(y1[near], y1[k])
            intersection = np.maximum(width, 0) * np.maximum(height, 0)
            suppressed[near] |= intersection / (area[k] + area[near] - intersection) > limit
    return kept


def float32_at_most(value: float) -> np.float32:
    """Largest float32 not above a double.

    A float32 is above the double exactly when it is above this, so the comparison needs no doubles.
    """
    nearest = np.float32(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf))
