"""How far AP would vary if other images had been drawn: the bootstrap over images (Efron 1979)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.evaluation.coco import GroundTruth, Predictions, judged

_CHUNK = 25  # resamples at a time, for memory
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


def matches(ground_truth: GroundTruth, predictions: Predictions) -> tuple[ClassMatches, ...]:
    """What AP is made of, by class, for every class that has objects."""
    evaluation = judged(ground_truth, predictions)
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
        empty = np.zeros((10, 0), dtype=np.bool_)
        return ClassMatches(np.zeros(0, dtype=np.intp), empty, empty, objects)
    scores = np.concatenate([each["dtScores"] for _, each in known])
    order = np.argsort(-scores, kind="mergesort")  # as pycocotools does
    images = np.concatenate([np.full(len(each["dtScores"]), i, dtype=np.intp) for i, each in known])
    matched = np.concatenate([each["dtMatches"] for _, each in known], axis=1)[:, order] != 0
    ignored = np.concatenate([each["dtIgnore"] for _, each in known], axis=1)[:, order].astype(np.bool_)
    return ClassMatches(images[order], matched & ~ignored, ~matched & ~ignored, objects)


def resampled_weights(images: int, resamples: int, seed: int) -> Float64:
    """How often each image is drawn, (resamples, images); as many are drawn, with replacement, as there are."""
    random = np.random.RandomState(seed)
    drawn = [np.bincount(random.randint(0, images, images), minlength=images) for _ in range(resamples)]
    return np.stack(drawn).astype(np.float64)


def average_precisions(found: tuple[ClassMatches, ...], weights: Float64) -> Float64:
    """AP over IoU 0.50:0.95, as pycocotools defines it, for each weighting of the images, (resamples,).

    Args:
        found: by class.
        weights: (resamples, images), how often each image counts; classes without objects in it do not.
    """
    chunks = [_chunk(found, weights[i : i + _CHUNK]) for i in range(0, len(weights), _CHUNK)]
    return np.concatenate(chunks).astype(np.float64)


def _chunk(found: tuple[ClassMatches, ...], weights: Float64) -> Float64:
    by_class = np.stack(list(_by_class(found, weights)))
    counted = np.stack([(weights * each.objects).sum(axis=1) > 0 for each in found])
    mean = np.where(counted, by_class, 0.0).sum(axis=0) / counted.sum(axis=0)
    return np.asarray(mean, dtype=np.float64)


def _by_class(found: tuple[ClassMatches, ...], weights: Float64) -> Iterator[Float64]:
    thresholds = np.linspace(0.0, 1.0, 101)
    for each in found:
        drawn = weights[:, None, each.images]
        true = np.cumsum(drawn * each.true, axis=2)
        false = np.cumsum(drawn * each.false, axis=2)
        total = (weights * each.objects).sum(axis=1)[:, None, None]
        recall = true / np.maximum(total, 1.0)
        precision = true / np.maximum(true + false, np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
        padded = np.concatenate((envelope, np.zeros((*envelope.shape[:2], 1))), axis=2)  # recall never reached
        figures = np.zeros(len(weights))
        for i in range(len(weights)):
            for recalls, precisions in zip(recall[i], padded[i], strict=True):
                figures[i] += precisions[np.searchsorted(recalls, thresholds)].mean()
        yield figures / each.true.shape[0]
