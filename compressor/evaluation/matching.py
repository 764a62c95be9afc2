"""Which detections are true positives."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.jit import compiled

IOU_THRESHOLDS = torch.linspace(0.5, 0.95, 10)
_EPS = 1e-7


def match(detections: Tensor, labels: Tensor, thresholds: Tensor = IOU_THRESHOLDS) -> Tensor:
    """True positives at each IoU threshold, by the protocol of the releases v6.2 and v7.0.

    A detection claims the label of its class that it overlaps most. Of the detections that claim a label with at least
    the threshold's IoU the first is a true positive: the highest score wins, not the best overlap.

    Args:
        detections: (n, 6) x1, y1, x2, y2, score, class, by descending score.
        labels: (m, 5) class, x1, y1, x2, y2, in the same pixels.
        thresholds: (t,) float32.

    Returns:
        (n, t) bool.
    """
    found, claimed = (np.zeros((len(each), len(thresholds)), np.bool_) for each in (detections, labels))
    _match(detections.numpy(), labels.numpy(), thresholds.numpy(), np.float32(_EPS), found, claimed)
    return torch.from_numpy(found)


@compiled
def _match(
    detections: NDArray[np.float32],
    labels: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    eps: np.float32,
    found: NDArray[np.bool_],
    claimed: NDArray[np.bool_],
) -> None:
    """Fill in `found` (n, t); `claimed` (m, t) is working memory, all False."""
    nothing = np.float32(0)
    for i in range(detections.shape[0]):
        x1, y1, x2, y2 = detections[i, 0], detections[i, 1], detections[i, 2], detections[i, 3]
        category = detections[i, 5]
        area = (x2 - x1) * (y2 - y1)
        best, label = np.float32(-1), -1
        for j in range(len(labels)):
            if labels[j, 0] != category:
                continue
            width = max(min(x2, labels[j, 3]) - max(x1, labels[j, 1]), nothing)
            height = max(min(y2, labels[j, 4]) - max(y1, labels[j, 2]), nothing)
            intersection = width * height
            area_of_label = (labels[j, 3] - labels[j, 1]) * (labels[j, 4] - labels[j, 2])
            overlap = intersection / (area + area_of_label - intersection + eps)
            if overlap > best:
                best, label = overlap, j
        for t in range(len(thresholds)):
            if label >= 0 and best >= thresholds[t] and not claimed[label, t]:
                claimed[label, t] = True
                found[i, t] = True
