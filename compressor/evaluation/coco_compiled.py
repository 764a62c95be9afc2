"""COCO's figures: detections matched to objects and summed up as pycocotools does, to the last bit, in one pass.

pycocotools matches image by image and sorts afterwards. Here the detections of a class are matched best score first
over all images, with one record of the objects already matched: within an image that is the same order, and figures
are summed up in the order in which detections are matched. Its rules (Lin et al. 2014, arXiv:1405.0312, and its code)
are described below where they are applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressor.evaluation.coco import GroundTruth, Predictions
from compressor.evaluation.coco_figures import (
    AREAS,
    EPS,
    FALSE,
    IGNORED,
    IOU_THRESHOLDS,
    MOST_DETECTIONS,
    RECALLS,
    TRUE,
    ClassMatches,
    CocoFigures,
    Float64,
)
from compressor.evaluation.coco_file import ImageId
from compressor.jit import compiled


def figures(ground_truth: GroundTruth, predictions: Predictions, rank: dict[ImageId, int]) -> CocoFigures:
    """Match detections and objects in one compiled pass.

    Args:
        ground_truth: the objects; only categories that are a class are evaluated.
        predictions: the detections.
        rank: of every image; among equal scores the lower rank comes first.
    """
    categories = {number: k for k, number in enumerate(sorted(set(ground_truth.category_ids)))}
    return _figures(_objects(ground_truth, rank, categories), _detections(ground_truth, predictions, rank, categories))


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes of objects or detections, ordered by category.

    Attributes:
        xywh: (n, 4) left, top, width, height.
        images: (n,) rank of the image.
        ends: (K + 1,) index at which each category begins, then the end of the last.
        areas: (n,) of objects as annotated, of detections width x height.
        crowds: (n,) of objects; empty for detections.
        image_count: number of all images.
    """

    xywh: Float64
    images: NDArray[np.int64]
    ends: NDArray[np.int64]
    areas: Float64
    crowds: NDArray[np.bool_]
    image_count: int

    def of(self, category: int) -> slice:
        return slice(int(self.ends[category]), int(self.ends[category + 1]))


def _objects(ground_truth: GroundTruth, rank: dict[ImageId, int], categories: dict[int, int]) -> _Boxes:
    """Objects by category, then image, then in the order of the annotations."""
    known = np.array(list(categories), dtype=np.int64)  # ascending
    objects = ground_truth.objects.where(np.isin(ground_truth.objects.category_ids, known))
    images = np.array([rank[image_id] for image_id in ground_truth.image_ids], dtype=np.int64)[objects.images]
    category = np.searchsorted(known, objects.category_ids)
    order = np.lexsort((images, category))
    return _Boxes(
        xywh=objects.boxes[order],
        images=images[order],
        ends=np.searchsorted(category[order], np.arange(len(categories) + 1)),
        areas=objects.areas[order],
        crowds=objects.crowds[order],
        image_count=len(rank),
    )


def _detections(
    ground_truth: GroundTruth, predictions: Predictions, rank: dict[ImageId, int], categories: dict[int, int]
) -> _Boxes:
    """Detections by category, then best score first; equal scores by image, then in their given order."""
    rank_of = np.array([rank[image_id] for image_id in predictions.image_ids], dtype=np.int64)
    category_of = np.array([categories[number] for number in ground_truth.category_ids], dtype=np.uint16)
    order = np.argsort(rank_of[predictions.image_index], kind="stable")
    order = order[np.argsort(-predictions.scores[order], kind="stable")]
    category = category_of[predictions.classes]
    order = order[np.argsort(category[order], kind="stable")]
    xywh = predictions.boxes[order]
    return _Boxes(
        xywh=xywh,
        images=rank_of[predictions.image_index[order]],
        ends=np.searchsorted(category[order], np.arange(len(categories) + 1)),
        areas=xywh[:, 2] * xywh[:, 3],
        crowds=np.zeros(0, np.bool_),
        image_count=len(rank),
    )


def _figures(objects: _Boxes, detections: _Boxes) -> CocoFigures:
    categories = len(objects.ends) - 1
    precision = np.full((len(IOU_THRESHOLDS), len(RECALLS), categories, len(AREAS)), -1.0)
    recall = np.full((len(IOU_THRESHOLDS), categories, len(AREAS)), -1.0)
    recall_of_few = np.full((len(IOU_THRESHOLDS), categories, 2), -1.0)
    found = []
    for k in range(categories):
        theirs, ours = objects.of(k), detections.of(k)
        images = detections.images[ours]
        outcome = np.full((len(images), len(IOU_THRESHOLDS)), IGNORED, np.uint8)
        place = np.empty(len(images), np.int64)
        ends = np.searchsorted(objects.images[theirs], np.arange(objects.image_count + 1))
        ignored = np.stack([_is_ignored(objects.areas[theirs], objects.crowds[theirs], limits) for limits in AREAS])
        _match_category(
            _Found(detections.xywh[ours], detections.areas[ours], images),
            _Wanted(objects.xywh[theirs], ignored, objects.crowds[theirs], ends),
            _Outcome(place, outcome, precision[:, :, k], recall[:, k]),
            _working(ignored, len(images), ends),
        )
        wanted = objects.images[theirs][~ignored[0]]
        if wanted.size:
            for i, most in enumerate(MOST_DETECTIONS[:2]):
                recall_of_few[:, k, i] = (outcome[place < most] == TRUE).sum(axis=0) / wanted.size
            counted = place < MOST_DETECTIONS[2]
            found.append(_matches(images[counted], outcome[counted], wanted, objects.image_count))
    return CocoFigures(precision, recall, recall_of_few, objects.image_count, tuple(found))


def _is_ignored(areas: Float64, crowds: NDArray[np.bool_], limits: Float64) -> NDArray[np.bool_]:
    """Which objects need not be found: crowds, and those outside the area range."""
    ignored: NDArray[np.bool_] = crowds | (areas < limits[0]) | (areas > limits[1])
    return ignored


def _matches(
    images: NDArray[np.int64], outcome: NDArray[np.uint8], images_of_objects: NDArray[np.int64], image_count: int
) -> ClassMatches:
    objects = np.bincount(images_of_objects, minlength=image_count).astype(np.float64)
    return ClassMatches(images, outcome.T == TRUE, outcome.T == FALSE, objects)


class _Found(NamedTuple):
    """Detections of one category, by descending score.

    Attributes:
        boxes: (n, 4) left, top, width, height.
        areas: (n,).
        images: (n,) rank of the image.
    """

    boxes: Float64
    areas: Float64
    images: NDArray[np.int64]


class _Wanted(NamedTuple):
    """Objects of one category, by image.

    Attributes:
        boxes: (g, 4) left, top, width, height.
        ignored: (A, g) objects that need not be found.
        crowds: (g,) regions that any number of detections may match.
        ends: (images + 1,) index at which the objects of each image begin, then the end of the last.
    """

    boxes: Float64
    ignored: NDArray[np.bool_]
    crowds: NDArray[np.bool_]
    ends: NDArray[np.int64]


class _Outcome(NamedTuple):
    """Arrays that the compiled loop fills for one category.

    Attributes:
        place: (n,) number of better detections in the same image.
        outcome: (n, T) IGNORED, TRUE or FALSE of each detection, for all areas.
        precision: (T, R, A), filled where there are objects to find.
        recall: (T, A), filled where there are objects to find.
    """

    place: NDArray[np.int64]
    outcome: NDArray[np.uint8]
    precision: Float64
    recall: Float64


class _Working(NamedTuple):
    """Working memory for one category, made by NumPy: code that makes arrays takes longer to compile than the loops.

    Attributes:
        matched: (A, T, g) objects that are matched already.
        hits: (A, T) objects found so far.
        misses: (A, T) false detections so far.
        at_hit: (A, T, at most g) precision when each object is found.
        to_find: (A,) number of objects that are not ignored.
        seen: (images,) detections seen so far.
        overlaps: (most objects of an image,) of the current detection with the objects in `near`.
        near: (most objects of an image,) indices of these objects.
    """

    matched: NDArray[np.bool_]
    hits: NDArray[np.int64]
    misses: NDArray[np.int64]
    at_hit: Float64
    to_find: NDArray[np.int64]
    seen: NDArray[np.int64]
    overlaps: Float64
    near: NDArray[np.int64]


def _working(ignored: NDArray[np.bool_], detections: int, ends: NDArray[np.int64]) -> _Working:
    combinations, objects = (len(AREAS), len(IOU_THRESHOLDS)), ignored.shape[1]
    most_objects = int(np.diff(ends).max())
    return _Working(
        matched=np.zeros((*combinations, objects), np.bool_),
        hits=np.zeros(combinations, np.int64),
        misses=np.zeros(combinations, np.int64),
        at_hit=np.empty((*combinations, min(objects, detections))),
        to_find=objects - ignored.sum(axis=1),
        seen=np.zeros(len(ends) - 1, np.int64),
        overlaps=np.empty(most_objects),
        near=np.empty(most_objects, np.int64),
    )


@compiled
def _match_category(found: _Found, wanted: _Wanted, filled: _Outcome, working: _Working) -> None:
    """Match one category, best detection first, and sum up its precision and recall."""
    matched, hits, misses, at_hit = working.matched, working.hits, working.misses, working.at_hit
    overlaps, near, seen = working.overlaps, working.near, working.seen
    for i in range(len(found.boxes)):
        image = found.images[i]
        filled.place[i] = seen[image]
        seen[image] += 1
        if filled.place[i] >= MOST_DETECTIONS[2]:
            continue
        count = _near(found, i, wanted, overlaps, near)
        best = 0.0
        for j in range(count):
            best = max(best, overlaps[j])
        for a in range(len(AREAS)):
            outside = found.areas[i] < AREAS[a, 0] or found.areas[i] > AREAS[a, 1]
            for t in range(len(IOU_THRESHOLDS)):
                g = -1
                if best >= IOU_THRESHOLDS[t]:
                    free = near[:count]
                    g = _match(overlaps, free, IOU_THRESHOLDS[t], wanted.ignored[a], wanted.crowds, matched[a, t])
                if g >= 0:
                    matched[a, t, g] = True
                passed_over = wanted.ignored[a, g] if g >= 0 else outside
                if passed_over:
                    result = IGNORED
                elif g >= 0:
                    result = TRUE
                    hits[a, t] += 1
                    at_hit[a, t, hits[a, t] - 1] = hits[a, t] / (misses[a, t] + hits[a, t] + EPS)
                else:
                    result = FALSE
                    misses[a, t] += 1
                if a == 0:
                    filled.outcome[i, t] = result
    _sum_up(at_hit, hits, working.to_find, filled.precision, filled.recall)


@compiled
def _near(found: _Found, i: int, wanted: _Wanted, overlaps: Float64, near: NDArray[np.int64]) -> int:
    """Fill `near` with the objects that detection i may match, `overlaps` with their overlaps; returns their number."""
    count, image = 0, found.images[i]
    for g in range(wanted.ends[image], wanted.ends[image + 1]):
        overlap = _overlap(found.boxes[i], found.areas[i], wanted.boxes[g], wanted.crowds[g])
        if overlap >= IOU_THRESHOLDS[0]:  # below the lowest threshold nothing matches
            overlaps[count], near[count] = overlap, g
            count += 1
    return count


@compiled
def _overlap(detection: Float64, detection_area: float, object_: Float64, crowd: bool) -> float:
    """Intersection over union; for a crowd, intersection over the detection's area."""
    width = min(detection[0] + detection[2], object_[0] + object_[2]) - max(detection[0], object_[0])
    height = min(detection[1] + detection[3], object_[1] + object_[3]) - max(detection[1], object_[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    union = detection_area if crowd else detection_area + object_[2] * object_[3] - intersection
    return float(intersection / union)


@compiled
def _match(
    overlaps: Float64,
    near: NDArray[np.int64],
    threshold: float,
    ignored: NDArray[np.bool_],
    crowds: NDArray[np.bool_],
    matched: NDArray[np.bool_],
) -> int:
    """Index of the free object that overlaps most, the last among equals; an ignored one only if no other matches."""
    for passed_over in (False, True):
        found, most = -1, threshold
        for i in range(len(near)):
            g = near[i]
            if ignored[g] == passed_over and overlaps[i] >= most and (crowds[g] or not matched[g]):
                found, most = g, overlaps[i]
        if found >= 0:
            return found
    return -1


@compiled
def _sum_up(
    at_hit: Float64, hits: NDArray[np.int64], to_find: NDArray[np.int64], precision: Float64, recall: Float64
) -> None:
    for a in range(len(AREAS)):
        if to_find[a]:
            for t in range(len(IOU_THRESHOLDS)):
                recall[t, a] = hits[a, t] / to_find[a]
                _sample(at_hit[a, t, : hits[a, t]], to_find[a], precision[t, :, a])


@compiled
def _sample(at_hit: Float64, to_find: int, precision: Float64) -> None:
    """Precision at each recall: the best at that recall or a higher one. It only falls between two hits."""
    for i in range(len(at_hit) - 1, 0, -1):
        at_hit[i - 1] = max(at_hit[i - 1], at_hit[i])
    place = 0
    for r in range(len(RECALLS)):
        while place < len(at_hit) and (place + 1) / to_find < RECALLS[r]:
            place += 1
        precision[r] = at_hit[place] if place < len(at_hit) else 0.0
