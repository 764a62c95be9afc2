"""COCO's figures by pycocotools itself: slow, and the reference for the compiled engine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from compressor.evaluation.coco import GroundTruth, Predictions, Record
from compressor.evaluation.coco_figures import AREAS, IOU_THRESHOLDS, ClassMatches, CocoFigures
from compressor.evaluation.coco_file import ImageId


def figures(ground_truth: GroundTruth, predictions: Predictions, rank: dict[ImageId, int]) -> CocoFigures:
    """COCO's figures as pycocotools computes them; `rank` holds the number that it receives for each image."""
    evaluation = evaluated(ground_truth, predictions, rank)
    recall = evaluation.eval["recall"]
    return CocoFigures(
        precision=evaluation.eval["precision"][..., -1],
        recall=recall[..., -1],
        recall_of_few=recall[:, :, 0, :2],
        images=len(rank),
        matches=_matches(evaluation),
    )


def evaluated(ground_truth: GroundTruth, predictions: Predictions, rank: dict[ImageId, int]) -> COCOeval:
    """The evaluation as pycocotools' own object."""
    objects = [{**annotation, "image_id": rank[annotation["image_id"]]} for annotation in ground_truth.annotations]
    detections = _detection_records(predictions, rank, ground_truth.category_ids)
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_indexed(objects), _indexed(detections), "bbox")
        evaluation.params.imgIds = list(rank.values())
        evaluation.params.catIds = sorted(set(ground_truth.category_ids))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _detection_records(predictions: Predictions, rank: dict[ImageId, int], category_ids: Sequence[int]) -> list[Record]:
    """The records that pycocotools makes of a results file, without the outlines that it adds."""
    images = np.array([rank[image_id] for image_id in predictions.image_ids], dtype=np.int64)
    columns = (
        images[predictions.image_index],
        np.array(category_ids, dtype=np.int64)[predictions.classes],
        predictions.boxes,
        predictions.scores,
        predictions.boxes[:, 2] * predictions.boxes[:, 3],
    )
    keys = ("image_id", "category_id", "bbox", "score", "area")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"id": number, **dict(zip(keys, row, strict=True))} for number, row in enumerate(rows, 1)]


def _indexed(annotations: list[Record]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": [], "annotations": annotations, "categories": []}
    coco.createIndex()
    return coco


def _matches(evaluation: COCOeval) -> tuple[ClassMatches, ...]:
    images = len(evaluation.params.imgIds)
    found = []
    for category in range(len(evaluation.params.catIds)):
        first = category * len(AREAS) * images  # the area range that holds all objects comes first
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
        empty = np.zeros((len(IOU_THRESHOLDS), 0), dtype=np.bool_)
        return ClassMatches(np.zeros(0, dtype=np.intp), empty, empty, objects)
    scores = np.concatenate([each["dtScores"] for _, each in known])
    order = np.argsort(-scores, kind="mergesort")  # as pycocotools does
    images = np.concatenate([np.full(len(each["dtScores"]), i, dtype=np.intp) for i, each in known])
    matched = np.concatenate([each["dtMatches"] for _, each in known], axis=1)[:, order] != 0
    ignored = np.concatenate([each["dtIgnore"] for _, each in known], axis=1)[:, order].astype(np.bool_)
    return ClassMatches(images[order], matched & ~ignored, ~matched & ~ignored, objects)
