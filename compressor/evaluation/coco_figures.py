"""COCO's figures as data, the same from either engine, and the 12 numbers that summarise them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.results.evaluation import CocoMetrics

Float64 = NDArray[np.float64]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)], dtype=np.float64)  # all, small, medium, large
MOST_DETECTIONS = (1, 10, 100)  # of one image and class

IGNORED, TRUE, FALSE = range(3)
_AP75 = 5  # index of IoU 0.75
EPS = float(np.spacing(1))


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The matched detections of one class over all images, best score first (area: all).

    Attributes:
        images: (n,) index of the image of each detection.
        true: (T, n) whether it found an object, at each IoU threshold.
        false: (T, n) whether it found none. An ignored detection is neither true nor false.
        objects: (images,) objects to find in each image.
    """

    images: NDArray[np.intp]
    true: NDArray[np.bool_]
    false: NDArray[np.bool_]
    objects: Float64


@dataclass(frozen=True, eq=False)
class CocoFigures:
    """The values whose means are the 12 figures; -1 where a class has no object to find.

    Attributes:
        precision: (T, R, K, A) at each IoU threshold, recall, category and area, with at most 100 detections.
        recall: (T, K, A) with at most 100 detections.
        recall_of_few: (T, K, 2) over all areas, with at most 1 and at most 10 detections.
        images: number of images evaluated.
        matches: one for every category that has objects.
    """

    precision: Float64
    recall: Float64
    recall_of_few: Float64
    images: int
    matches: tuple[ClassMatches, ...]


def coco_metrics(figures: CocoFigures) -> CocoMetrics:
    """The 12 figures in the order of pycocotools; None where there are no objects to find."""
    precisions = [figures.precision[..., 0], figures.precision[0, ..., 0], figures.precision[_AP75, ..., 0]]
    precisions += [figures.precision[..., area] for area in (1, 2, 3)]
    recalls = [figures.recall_of_few[..., 0], figures.recall_of_few[..., 1]]
    recalls += [figures.recall[..., area] for area in range(4)]
    return CocoMetrics(*map(_mean, precisions + recalls))


def _mean(values: Float64) -> float | None:
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def precision_by_recall(figures: CocoFigures) -> tuple[float, ...]:
    """Precision at IoU 0.50 and 101 recalls, mean over the classes that have objects."""
    curves = figures.precision[0, :, :, 0]
    defined = curves[:, (curves > -1).all(axis=0)]
    return tuple(defined.mean(axis=1).round(6).tolist()) if defined.size else ()
