"""How far AP would vary if other images had been drawn: the bootstrap over images (Efron 1979)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from compressor.evaluation.coco_figures import EPS, IOU_THRESHOLDS, RECALLS, ClassMatches, CocoFigures, Float64
from compressor.jit import compiled
from compressor.results.evaluation import Resampled

RESAMPLES, SEED = 1000, 0


def resample(evaluated: CocoFigures) -> Resampled:
    """AP and AP50 on many random draws of the images."""
    figures = average_precisions(evaluated.matches, resampled_weights(evaluated.images, RESAMPLES, SEED))
    return Resampled(evaluated.images, SEED, _rounded(figures.mean(axis=1)), _rounded(figures[:, 0]))


def _rounded(figures: Float64) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(figure) else round(figure, 6) for figure in figures.tolist())


def resampled_weights(images: int, resamples: int, seed: int) -> Float64:
    """How often each image is drawn, (resamples, images): every row draws `images` of them with replacement."""
    random = np.random.RandomState(seed)
    drawn = [np.bincount(random.randint(0, images, images), minlength=images) for _ in range(resamples)]
    return np.stack(drawn).astype(np.float64)


def average_precisions(found: tuple[ClassMatches, ...], weights: Float64) -> Float64:
    """AP at each IoU threshold, as pycocotools defines it, for each weighting of the images, (resamples, T).

    Precision is greatest where an object is found, so it is summed up there only.

    Args:
        found: the matched detections of each class.
        weights: (resamples, images), whole numbers: how often each image counts. A class without objects in a draw is
            left out of its mean; a draw in which no class has objects gives NaN.
    """
    total = np.zeros((len(weights), len(IOU_THRESHOLDS)))
    classes = np.zeros((len(weights), 1))
    drawn = weights.astype(np.int64)
    for each in found:
        objects = drawn @ each.objects.astype(np.int64)
        _add_class(each.images, each.true.T.copy(), each.false.T.copy(), objects, drawn, total)
        classes += objects[:, None] > 0
    with np.errstate(invalid="ignore"):
        return np.asarray(total / classes)


@compiled
def _add_class(
    images: NDArray[np.intp],
    true: NDArray[np.bool_],
    false: NDArray[np.bool_],
    objects: NDArray[np.int64],
    drawn: NDArray[np.int64],
    total: Float64,
) -> None:
    """Add the AP of one class to `total` (resamples, T), where it has objects; `true` and `false` are (n, T)."""
    misses, hits = np.empty(true.shape[1], np.int64), np.empty(true.shape[1], np.int64)
    always_false = np.array([row.all() for row in false])  # true of most detections
    found, precision = np.empty(true.shape, np.int64), np.empty(true.shape)
    for draw in range(len(drawn)):
        if objects[draw] == 0:
            continue
        misses[:] = 0
        hits[:] = 0
        common = 0  # misses at every threshold
        known = np.zeros(true.shape[1], np.int64)
        for i in range(len(images)):
            times = drawn[draw, images[i]]
            if always_false[i]:
                common += times
                continue
            if times == 0:
                continue
            for t in range(true.shape[1]):
                if true[i, t]:
                    hits[t] += times
                    found[known[t], t] = hits[t]
                    precision[known[t], t] = hits[t] / (common + misses[t] + hits[t] + EPS)
                    known[t] += 1
                else:
                    misses[t] += times * false[i, t]
        for t in range(true.shape[1]):
            total[draw, t] += _area(found[: known[t], t], precision[: known[t], t], objects[draw])


@compiled
def _area(found: NDArray[np.int64], precision: Float64, objects: int) -> float:
    """Mean over the recalls of the best precision at that recall or a higher one."""
    area = 0.0
    best = 0.0
    recall = len(RECALLS) - 1
    for i in range(len(found) - 1, -1, -1):
        best = max(best, precision[i])
        before = found[i - 1] / objects if i else -1.0
        while recall >= 0 and RECALLS[recall] > found[i] / objects:
            recall -= 1
        while recall >= 0 and RECALLS[recall] > before:
            area += best
            recall -= 1
    return area / len(RECALLS)
