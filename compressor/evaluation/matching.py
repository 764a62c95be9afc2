"""Which detections are true positives."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.evaluation.boxes import pairwise_iou

IOU_THRESHOLDS = torch.linspace(0.5, 0.95, 10)
_EPS = 1e-7


def match(detections: Tensor, labels: Tensor, thresholds: Tensor = IOU_THRESHOLDS) -> Tensor:
    """True positives at each IoU threshold, by the protocol of the releases v6.2 and v7.0.

    A detection claims the label of its class it overlaps best. Of the detections that claim a label with at least the
    threshold's IoU the first is a true positive: the highest score wins, not the best overlap.

    Args:
        detections: (n, 6) x1, y1, x2, y2, score, class, by descending score.
        labels: (m, 5) class, x1, y1, x2, y2, in the same pixels.
        thresholds: (t,) float32.

    Returns:
        (n, t) bool.
    """
    if not len(labels):
        return torch.zeros(len(detections), len(thresholds), dtype=torch.bool)
    iou = pairwise_iou(detections[:, :4], labels[:, 1:], _EPS)
    iou = iou.masked_fill(detections[:, 5:] != labels[:, 0], -1)  # never reaches a threshold
    best_iou, best_label = iou.max(dim=1)
    claims = torch.nn.functional.one_hot(best_label, len(labels)).bool()
    claims = claims[:, :, None] & (best_iou[:, None] >= thresholds)[:, None, :]  # (n, m, t)
    first = claims & (claims.cumsum(dim=0) == 1)
    return first.any(dim=1)
