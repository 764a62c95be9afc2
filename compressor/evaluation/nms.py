"""Non-maximum suppression: from decoded predictions to at most `max_det` detections per image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.evaluation.boxes import xywh_to_xyxy
from compressor.jit import compiled

Float32 = NDArray[np.float32]

MAX_WH = 7680  # pixels between the classes
_FEW = 6  # candidates for each that may be kept
_ROUNDING = 16  # pixels, more than a coordinate of a far class is rounded by


def non_max_suppression(
    predictions: Tensor,
    *,
    conf_thres: float,
    iou_thres: float,
    max_det: int = 300,
    max_nms: int = 30_000,
) -> list[Tensor]:
    """Detections of each image, the bits and the order of upstream's v6.1 to v7.0 without its time limit.

    Classes are kept apart by adding class x 7680 to all coordinates in float32, as upstream does: far classes have
    their coordinates rounded, which decides close calls. A score that is not a number is above no threshold; a box
    that is not neither suppresses nor is suppressed, and is returned for the caller to see.

    Args:
        predictions: (B, N, 4 + nc), any float type and device: centre x, centre y, width, height, a score for each
            class. Half precision is taken to float32 first.
        conf_thres: least score, exclusive.
        iou_thres: a box overlapping a better one by more than this is dropped.
        max_det: most detections per image.
        max_nms: candidates per image that enter, best first; each box is one for every class above the threshold.

    Returns:
        One (n, 6) float32 tensor per image, on the CPU: x1, y1, x2, y2, score, class; by descending score, equal
        scores in the order of the rows.
    """
    limits = Limits(iou_thres, max_det, max_nms)
    found = (suppress(_candidates(each.float(), conf_thres), limits) for each in predictions)
    return [torch.from_numpy(each) for each in found]


class Limits(NamedTuple):
    """How one image's candidates are suppressed; `non_max_suppression` tells of each."""

    iou_thres: float
    max_det: int = 300
    max_nms: int = 30_000


def _candidates(prediction: Tensor, conf_thres: float) -> Float32:
    """(N, 4 + nc) to all (n, 6) rows x1, y1, x2, y2, score, class above the threshold, in the order of the rows."""
    if prediction.device.type == "cpu":
        found: Float32 = _above(prediction.contiguous().numpy(), np.float32(conf_thres))
        return found
    boxes, scores = prediction[:, :4], prediction[:, 4:]
    row, category = (scores > conf_thres).nonzero(as_tuple=True)
    corners = xywh_to_xyxy(boxes[row])
    rows: Float32 = torch.cat((corners, scores[row, category, None], category[:, None].float()), dim=1).cpu().numpy()
    return rows


def suppress(candidates: Float32, limits: Limits) -> Float32:
    """Detections of one image, (m, 6), of (n, 6) rows x1, y1, x2, y2, score, class.

    Mostly the best few candidates already give as many as may be kept.
    """
    scores = candidates[:, 4]
    few = _FEW * limits.max_det
    if few < min(len(candidates), limits.max_nms):
        least = np.partition(scores, len(scores) - few)[len(scores) - few]
        best = candidates[scores >= least]
        found = _greedy(best, limits)
        if len(found) == limits.max_det:
            return found
    return _greedy(candidates, limits)


def _greedy(candidates: Float32, limits: Limits) -> Float32:
    order = np.argsort(-candidates[:, 4], kind="stable")[: limits.max_nms]
    ordered = candidates[order]
    boxes = ordered[:, :4] + ordered[:, 5:] * np.float32(MAX_WH)
    classes = ordered[:, 5].astype(np.int64) if _are_apart(ordered) else np.zeros(len(ordered), np.int64)
    kept: Float32 = ordered[_survivors(boxes, classes, float32_at_most(limits.iou_thres), limits.max_det)]
    return kept


def _are_apart(candidates: Float32) -> bool:
    """Whether no boxes of two classes can overlap once they are moved apart, however they are rounded."""
    if not len(candidates):
        return False
    with np.errstate(all="ignore"):
        extent = candidates[:, 2].max() - candidates[:, 0].min()
    return bool(extent < MAX_WH - _ROUNDING)  # not so where any is not a number


@compiled
def _above(prediction: Float32, conf_thres: np.float32) -> Float32:
    counts = np.zeros(len(prediction), np.int64)
    for index, row in enumerate(prediction):
        count = 0
        for category in range(4, row.size):
            count += row[category] > conf_thres
        counts[index] = count
    found = np.empty((counts.sum(), 6), np.float32)
    filled = 0
    half = np.float32(0.5)
    for index, row in enumerate(prediction):
        if counts[index] == 0:
            continue
        x, y, half_width, half_height = row[0], row[1], row[2] * half, row[3] * half
        for category in range(4, row.size):
            score = row[category]
            if not score > conf_thres:
                continue
            each = found[filled]
            each[0], each[1], each[2], each[3] = x - half_width, y - half_height, x + half_width, y + half_height
            each[4], each[5] = score, category - 4
            filled += 1
    return found


@compiled
def _survivors(boxes: Float32, classes: NDArray[np.int64], limit: np.float32, max_det: int) -> NDArray[np.int64]:
    """Rows that are kept; only boxes of one class are compared. `limit` as `float32_at_most` gives it."""
    kept = np.empty(min(max_det, len(boxes)), np.int64)
    areas = np.empty(len(kept), np.float32)
    before = np.empty(len(kept), np.int64)  # the kept box of the same class before this one
    newest = np.full(classes.max() + 1 if len(classes) else 0, -1, np.int64)
    count = 0
    for row in range(len(boxes)):
        if count == len(kept):
            break
        x1, y1, x2, y2 = boxes[row]
        area = (x2 - x1) * (y2 - y1)
        other = newest[classes[row]]
        while other >= 0:
            box = boxes[kept[other]]
            width = min(x2, box[2]) - max(x1, box[0])
            height = min(y2, box[3]) - max(y1, box[1])
            if width > 0 and height > 0:
                intersection = width * height
                if intersection / (areas[other] + area - intersection) > limit:  # NaN suppresses nothing
                    break
            other = before[other]
        else:
            kept[count], areas[count] = row, area
            before[count] = newest[classes[row]]
            newest[classes[row]] = count
            count += 1
    return kept[:count]


def float32_at_most(value: float) -> np.float32:
    """Largest float32 not above a double.

    A float32 is above the double exactly when it is above this, so the comparison needs no doubles.
    """
    nearest = np.float32(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf))
