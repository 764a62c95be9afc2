"""YOLOv5's own metrics: which detections are right, then precision, recall and average precision per class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def right(detections: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each detection (n, 6), best score first, is right by labels (m, 5) at each of ten thresholds, (n, 10)."""
    found = np.zeros((len(detections), 10), bool)
    for column, threshold in enumerate(np.linspace(0.5, 0.95, 10).astype(np.float32)):
        pairs = [
            (overlap, m, n)
            for m, label in enumerate(labels)
            for n, detection in enumerate(detections)
            if label[0] == detection[5] and (overlap := iou(label[1:], detection[:4])) >= threshold
        ]
        label_of: dict[int, int] = {}
        for _, m, n in sorted(pairs, key=lambda pair: -pair[0]):
            label_of.setdefault(n, m)
        taken: set[int] = set()
        for n in sorted(label_of):
            found[n, column] = label_of[n] not in taken
            taken.add(label_of[n])
    return found


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    """Intersection over union of two boxes, x1, y1, x2, y2."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), np.float32(0))
    common = sides[0] * sides[1]
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    quotient: np.float32 = common / (areas - common + np.float32(1e-7))
    return quotient


@dataclass(frozen=True)
class Figures:
    """Figures of each class that has labels, in the order of their numbers.

    Attributes:
        classes: their numbers, (k,).
        P: precision at the confidence of the best mean F1, (k,).
        R: recall there, (k,).
        AP: average precision at each threshold, (k, 10).
    """

    classes: NDArray[np.int64]
    P: Floats
    R: Floats
    AP: Floats


def figures(
    tp: NDArray[np.bool_], conf: NDArray[np.float32], kinds: NDArray[np.float32], labels: NDArray[np.float32]
) -> Figures:
    """Figures of all images.

    Args:
        tp: (n, 10) whether each detection is right.
        conf: (n,) scores.
        kinds: (n,) classes of the detections.
        labels: (m,) classes of the labels.
    """
    order = np.argsort(-conf)
    tp, conf, kinds = tp[order], conf[order], kinds[order]
    classes, steps = np.unique(labels), np.linspace(0, 1, 1000)
    precisions, recalls = np.zeros((len(classes), 1000)), np.zeros((len(classes), 1000))
    ap = np.zeros((len(classes), 10))
    for row, kind in enumerate(classes):
        mine = kinds == kind
        if not mine.any():
            continue
        hits, misses = np.cumsum(tp[mine], axis=0), np.cumsum(~tp[mine], axis=0)
        recall, precision = hits / ((labels == kind).sum() + 1e-16), hits / (hits + misses)
        recalls[row] = np.interp(-steps, -conf[mine], recall[:, 0], left=0)
        precisions[row] = np.interp(-steps, -conf[mine], precision[:, 0], left=1)
        ap[row] = [average_precision(recall[:, k], precision[:, k]) for k in range(10)]
    f1 = 2 * precisions * recalls / (precisions + recalls + 1e-16)
    mean = np.concatenate((np.full(50, f1.mean(0)[0]), f1.mean(0), np.full(50, f1.mean(0)[-1])))
    best = int(np.convolve(mean, np.full(101, 1 / 101), mode="valid").argmax())
    return Figures(classes.astype(np.int64), precisions[:, best], recalls[:, best], ap)


def average_precision(recall: Floats, precision: Floats) -> float:
    """The area below the envelope of precision over recall, by trapezoids between 101 recalls."""
    recall, precision = np.concatenate(([0.0], recall, [1.0])), np.concatenate(([1.0], precision, [0.0]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.linspace(0, 1, 101)
    return float(np.trapezoid(np.interp(at, recall, envelope), at))
