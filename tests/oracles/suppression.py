"""Non-maximum suppression, a box at a time, in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
MAX_WH, MAX_NMS = np.float32(7680), 30000


def detections(
    rows: Boxes,
    conf_thres: float,
    iou_thres: float,
    max_det: int = 300,
) -> Boxes:
    """The detections of one image, (n, 6): x1, y1, x2, y2, score, class; highest score first.

    Args:
        rows: (N, 5 + classes) centre x, centre y, width, height, objectness, class probabilities.
        conf_thres: an objectness, and a score, must be above it.
        iou_thres: a box goes where it overlaps one that stays by more.
        max_det: the most that stay.
    """
    found: list[tuple[np.float32, ...]] = []
    for row in rows[rows[:, 4] > np.float32(conf_thres)]:
        scores = row[5:] * row[4]
        x, y, half_width, half_height = row[0], row[1], row[2] / np.float32(2), row[3] / np.float32(2)
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        for k in range(len(scores)):
            if scores[k] > np.float32(conf_thres):
                found.append((*box, scores[k], np.float32(k)))
    table = np.array(found, np.float32).reshape(-1, 6)
    table = table[np.argsort(-table[:, 4], kind="stable")][:MAX_NMS]
    return table[stay(table[:, :4] + table[:, 5:] * MAX_WH, iou_thres, max_det)]


def stay(boxes: Boxes, iou_thres: float, max_det: int) -> list[int]:
    """Which boxes (n, 4) stay: those that no earlier one that stays overlaps by more than the threshold."""
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for row, box in enumerate(boxes):
        others = boxes[kept]
        sides = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
        common = np.maximum(sides[:, 0], np.float32(0)) * np.maximum(sides[:, 1], np.float32(0))
        iou = common / (areas[kept] + areas[row] - common)
        if not (iou.astype(np.float64) > iou_thres).any():
            kept.append(row)
            if len(kept) == max_det:
                break
    return kept
