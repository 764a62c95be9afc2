"""How far AP would vary if other images had been drawn: the bootstrap over images (Efron 1979)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from compressor.results.judgement import Resampled

RESAMPLES, SEED = 1000, 0
_CHUNK = 100  # resamples at a time, for memory
_THRESHOLDS = 10  # of IoU
_RECALLS = np.linspace(0.0, 1.0, 101)
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The detections of one class over all images, best score first, as pycocotools matched them (area: all).

    Attributes:
        images: (n,) index of the image of each detection.
        true: (T, n) whether it found an object, at each IoU threshold.
        false: (T, n) whether it found none; neither where it is ignored.
        objects: (images,) objects to find in each image.
    """

    images: NDArray[np.intp]
    true: NDArray[np.bool_]
    false: NDArray[np.bool_]
    objects: Float64


def matches(evaluation: COCOeval) -> tuple[ClassMatches, ...]:
    """What AP is made of, by class, for every class that has objects.

    Args:
        evaluation: what `judge_coco` gives.
    """
    areas, images = len(evaluation.params.areaRng), len(evaluation.params.imgIds)
    found = []
    for category in range(len(evaluation.params.catIds)):
        first = category * areas * images  # the area range that holds all objects comes first
        of_class = _class_matches(evaluation.evalImgs[first : first + images])
        if of_class.objects.any():
            found.append(of_class)
    return tuple(found)


def _class_matches(per_image: list[dict[str, Any] | None]) -> ClassMatches:
    known = [(i, each) for i, each in enumerate(per_image) if each is not None]
    objects = np.zeros(len(per_image))
    for i, each in known:
        objects[i] = np.count_nonzero(np.asarray(each["gtIgnore"]) == 0)
    if not known:
        empty = np.zeros((_THRESHOLDS, 0), dtype=np.bool_)
        return ClassMatches(np.zeros(0, dtype=np.intp), empty, empty, objects)
    scores = np.concatenate([each["dtScores"] for _, each in known])
    order = np.argsort(-scores, kind="mergesort")  # as pycocotools does
    images = np.concatenate([np.full(len(each["dtScores"]), i, dtype=np.intp) for i, each in known])
    matched = np.concatenate([each["dtMatches"] for _, each in known], axis=1)[:, order] != 0
    ignored = np.concatenate([each["dtIgnore"] for _, each in known], axis=1)[:, order].astype(np.bool_)
    return ClassMatches(images[order], matched & ~ignored, ~matched & ~ignored, objects)


def resample(evaluation: COCOeval) -> Resampled:
    """AP and AP50 on many draws of the images."""
    images = len(evaluation.params.imgIds)
    figures = average_precisions(matches(evaluation), resampled_weights(images, RESAMPLES, SEED))
    return Resampled(images, SEED, _rounded(figures.mean(axis=1)), _rounded(figures[:, 0]))


def _rounded(figures: Float64) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(figure) else round(figure, 6) for figure in figures.tolist())


def resampled_weights(images: int, resamples: int, seed: int) -> Float64:
    """How often each image is drawn, (resamples, images); as many are drawn, with replacement, as there are."""
    random = np.random.RandomState(seed)
    drawn = [np.bincount(random.randint(0, images, images), minlength=images) for _ in range(resamples)]
    return np.stack(drawn).astype(np.float64)


def average_precisions(found: tuple[ClassMatches, ...], weights: Float64) -> Float64:
    """AP at each IoU threshold, as pycocotools defines it, for each weighting of the images, (resamples, T).

    Precision is greatest where an object is found, so only these places are looked at.

    Args:
        found: by class.
        weights: (resamples, images), whole numbers: how often each image counts. A class without objects in it does
            not; where that is all of them the figure is NaN.
    """
    if not found:
        return np.full((len(weights), _THRESHOLDS), np.nan)
    chunks = [_chunk(found, weights[i : i + _CHUNK].astype(np.float32)) for i in range(0, len(weights), _CHUNK)]
    return np.concatenate(chunks)


def _chunk(found: tuple[ClassMatches, ...], weights: Float32) -> Float64:
    total = np.zeros((len(weights), 1))
    classes = np.zeros((len(weights), 1))
    for each in found:
        objects = (weights * each.objects).sum(axis=1, dtype=np.float64)[:, None]
        total = total + np.where(objects > 0, _of_class(each, weights, objects), 0.0)
        classes += objects > 0
    with np.errstate(invalid="ignore"):
        return np.asarray(total / classes)


def _of_class(each: ClassMatches, weights: Float32, objects: Float64) -> Float64:
    """(resamples, T) of one class; `objects` is (resamples, 1), and what is told where it is 0 means nothing."""
    drawn = weights[:, each.images]  # whole numbers, exact in float32 up to 2**24
    counted = each.true | each.false
    alike = bool((counted == counted[0]).all())
    seen = np.cumsum(drawn * counted[0], axis=1)
    figures = np.zeros((len(weights), len(counted)))
    for threshold, true in enumerate(each.true):
        if not alike and threshold:
            seen = np.cumsum(drawn * counted[threshold], axis=1)
        (places,) = true.nonzero()
        if not len(places):
            continue
        hits = np.cumsum(drawn[:, places], axis=1, dtype=np.float64)
        precision = hits / (seen[:, places] + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(_RECALLS, hits / np.maximum(objects, 1.0), side="right")
        figures[:, threshold] = (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(_RECALLS)
    return figures
