"""YOLOv5's own precision, recall and AP, by the protocol of the releases v6.2 and v7.0.

They differ from pycocotools' figures by design: a perfect class has AP 0.995, and crowds are not left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.results.evaluation import ClassMetrics, DetectionMetrics

Float64 = NDArray[np.float64]

_EPS = 1e-16
_CONFIDENCES = np.linspace(0, 1, 1000)
_RECALLS = np.linspace(0, 1, 101)
_SMOOTHING = 0.1  # fraction of the confidence axis


@dataclass(frozen=True)
class PerClass:
    """Figures of every class that has labels.

    Attributes:
        classes: (c,) class indices, ascending.
        instances: (c,) labels of the class.
        P: (c,) precision at IoU 0.5 and the confidence of the best mean F1.
        R: (c,) recall there.
        F1: (c,) their harmonic mean there.
        AP: (c, t) average precision at each IoU threshold, 0.50 first.
    """

    classes: NDArray[np.int64]
    instances: NDArray[np.int64]
    P: Float64
    R: Float64
    F1: Float64
    AP: Float64


def per_class(tp: NDArray[np.bool_], conf: NDArray[Any], pred_cls: NDArray[Any], target_cls: NDArray[Any]) -> PerClass:
    """Precision, recall, F1 and AP per class from all detections and labels of a data set.

    A class with labels and without detections has zeros; detections of a class without labels do not count. If no
    detection at all is correct, all figures are 0.

    Args:
        tp: (n, t) true positives at each IoU threshold.
        conf: (n,) scores; equal scores keep their order.
        pred_cls: (n,) classes of the detections.
        target_cls: (m,) classes of the labels.
    """
    order = np.argsort(-conf, kind="stable")
    tp, conf, pred_cls = tp[order], conf[order], pred_cls[order]
    classes, instances = np.unique(target_cls.astype(np.int64), return_counts=True)
    precision, recall = np.zeros((2, len(classes), len(_CONFIDENCES)))
    ap = np.zeros((len(classes), tp.shape[1]))
    for index, (category, labels) in enumerate(zip(classes, instances, strict=True)):
        mine = pred_cls == category
        if tp.any() and mine.any():
            curves = _curves(tp[mine], int(labels))
            precision[index] = np.interp(-_CONFIDENCES, -conf[mine], curves[0][:, 0], left=1)
            recall[index] = np.interp(-_CONFIDENCES, -conf[mine], curves[1][:, 0], left=0)
            ap[index] = [average_precision(p, r) for p, r in zip(curves[0].T, curves[1].T, strict=True)]
    f1 = 2 * precision * recall / (precision + recall + _EPS)
    best = int(_smooth(f1.mean(axis=0)).argmax()) if len(classes) else 0
    return PerClass(classes, instances, precision[:, best], recall[:, best], f1[:, best], ap)


def _curves(tp: NDArray[np.bool_], labels: int) -> tuple[Float64, Float64]:
    """Precision and recall (n, t) after each detection of one class, best first."""
    hits, misses = tp.cumsum(axis=0), (~tp).cumsum(axis=0)
    return hits / (hits + misses), hits / (labels + _EPS)


def average_precision(precision: Float64, recall: Float64) -> float:
    """Area under the precision envelope, by the trapezoid rule over 101 recalls (Lin et al. 2014, arXiv:1405.0312).

    Args:
        precision: (n,) after each detection, best first.
        recall: (n,) ascending.
    """
    recall = np.concatenate(([0.0], recall, [1.0]))
    precision = np.concatenate(([1.0], precision, [0.0]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    heights = np.interp(_RECALLS, recall, envelope)
    return float((np.diff(_RECALLS) * (heights[1:] + heights[:-1]) / 2).sum())


def _smooth(curve: Float64) -> Float64:
    """Moving average over the fraction `_SMOOTHING` of the curve, padded with its end values."""
    width = round(len(curve) * _SMOOTHING * 2) // 2 + 1
    padded = np.pad(curve, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def summarise(
    figures: PerClass, names: Sequence[str], images: Mapping[int, int]
) -> tuple[DetectionMetrics, tuple[ClassMetrics, ...]]:
    """Means over the classes, and one record per class that has labels; without such a class the means are None.

    Args:
        figures: the result of `per_class`.
        names: class names by index.
        images: per class index, the images holding at least one object of the class.
    """
    classes = tuple(
        ClassMetrics(
            index=int(category),
            name=names[category],
            images=images[int(category)],
            instances=int(figures.instances[row]),
            P=float(figures.P[row]),
            R=float(figures.R[row]),
            AP50=float(figures.AP[row, 0]),
            AP50_95=float(figures.AP[row].mean()),
        )
        for row, category in enumerate(figures.classes)
    )
    if not classes:
        return DetectionMetrics(None, None, None, None), ()
    means = (figures.P.mean(), figures.R.mean(), figures.AP[:, 0].mean(), figures.AP.mean(axis=1).mean())
    return DetectionMetrics(*map(float, means)), classes
