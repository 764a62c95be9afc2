"""Suppression and the COCO figures beside a C loop and pycocotools; see `speed.py`."""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import plain
import torch
from side_by_side import Comparison, Work, compare
from torch import Tensor

from compressor.evaluation.coco import COCO_CATEGORY_IDS, GroundTruth, Predictions, as_objects
from compressor.evaluation.coco_engine import evaluate_coco
from compressor.evaluation.coco_figures import coco_metrics
from compressor.evaluation.nms import Limits, non_max_suppression, suppress
from compressor.models.yolov5.detect import scored

DETECTIONS = 220  # of each image
CONF_THRES, IOU_THRES, MAX_DET = 0.001, 0.65, 300


def coco(options: argparse.Namespace) -> list[Comparison]:
    file, runs = options.ground_truth, options.runs
    truth, predictions = scene(file)
    name = f"COCO figures, {len(truth.images):,} images, {len(predictions.scores):,} detections"
    return [compare(name, ("pycocotools", partial(by_pycocotools, file)), partial(ours, file), same_figures, runs=runs)]


def scene(file: Path, images: int | None = None, each: int = DETECTIONS) -> tuple[GroundTruth, Predictions]:
    """Real objects, and made-up detections: four near every object, and some anywhere.

    Args:
        file: COCO instances JSON.
        images: how many of it; all when not given.
        each: detections per image.
    """
    data = json.loads(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes())
    chosen = data["images"][:images]
    ids = tuple(image["id"] for image in chosen)
    index = {image_id: i for i, image_id in enumerate(ids)}
    keys = ("image_id", "category_id", "bbox", "area", "iscrowd")
    objects = [{key: each[key] for key in keys} for each in data["annotations"] if each["image_id"] in index]
    columns = as_objects(objects, ids)
    truth = GroundTruth(tuple(chosen), columns, tuple(data["categories"]), COCO_CATEGORY_IDS, ids, official=True)
    return truth, _made_up(truth, index, each)


def _made_up(truth: GroundTruth, index: dict[Any, int], each: int) -> Predictions:
    random = np.random.RandomState(0)
    near = min(4, each)
    categories = {number: i for i, number in enumerate(truth.category_ids)}
    boxes = truth.objects.boxes.repeat(near, axis=0)
    images = truth.objects.images.repeat(near)
    classes = np.array([categories[number] for number in truth.objects.category_ids.tolist()]).repeat(near)
    boxes = boxes + random.standard_normal(boxes.shape) * 0.08 * np.tile(boxes[:, 2:], 2)
    missing = np.maximum(0, each - np.bincount(images, minlength=len(index)))
    anywhere = random.random_sample((missing.sum(), 4)) * (600, 400, 200, 200)
    everything = np.concatenate((boxes, anywhere)).clip(min=0.5).round(3)
    images = np.concatenate((images, np.arange(len(index)).repeat(missing)))
    classes = np.concatenate((classes, random.randint(0, len(categories), missing.sum())))
    order = np.argsort(images, kind="stable")
    scores = random.random_sample(len(images)).round(5)
    return Predictions(
        truth.image_ids, images[order].astype(np.int32), everything[order], scores, classes[order].astype(np.int32)
    )


def by_pycocotools(file: Path) -> Work:
    truth, predictions = scene(file)
    return Work(lambda: plain.coco_figures(truth, predictions))


def ours(file: Path) -> Work:
    truth, predictions = scene(file)
    return Work(lambda: list(astuple(coco_metrics(evaluate_coco(truth, predictions)))))


def same_figures(theirs: list[float], mine: list[float | None]) -> str:
    assert theirs == [-1.0 if figure is None else figure for figure in mine], "other figures"
    return "all 12 equal to the last bit"


def suppression(options: argparse.Namespace) -> list[Comparison]:
    found = []
    runs = 4 * options.runs + 1
    for wanted in (1_000, 3_000, 10_000, 30_000):
        peer = ("C loop, as torchvision's", partial(suppress_by_loop, wanted))
        name = f"suppression, {wanted:,} candidates"
        found.append(compare(name, peer, partial(suppress_by_us, wanted), same_detections, runs=runs))
    peer = ("torch, then the C loop", partial(detect_by_loop, 10_000))
    name = "outputs to detections, 10,000 candidates"
    return [*found, compare(name, peer, partial(detect_by_us, 10_000), same_detections, runs=runs)]


def predictions_of(candidates: int) -> Tensor:
    """(1, 25200, 85), of 60 objects, with about as many scores above the threshold."""
    random = np.random.RandomState(0)
    rows = np.zeros((25_200, 85), np.float32)
    of = random.randint(0, 60, len(rows))
    centres, sizes = random.random_sample((60, 2)) * 640, 20 + random.random_sample((60, 2)) * 200
    rows[:, :2] = centres[of] + random.standard_normal((len(rows), 2)) * 8
    rows[:, 2:4] = sizes[of] * (0.8 + 0.4 * random.random_sample((len(rows), 2)))
    scores = random.random_sample((len(rows), 80)) ** 30
    lowest = np.sort(scores.reshape(-1))[-candidates]
    rows[:, 4], rows[:, 5:] = 1.0, np.where(scores >= lowest, CONF_THRES + scores, 0)
    return torch.from_numpy(rows)[None]


def suppress_by_loop(candidates: int) -> Work:
    found = plain.candidates(predictions_of(candidates)[0], CONF_THRES)
    assert len(found) == candidates
    return Work(lambda: plain.greedy(found, IOU_THRES, MAX_DET).numpy())


def suppress_by_us(candidates: int) -> Work:
    found = plain.candidates(predictions_of(candidates)[0], CONF_THRES).numpy()
    return Work(lambda: suppress(found, Limits(IOU_THRES, MAX_DET)))


def detect_by_loop(candidates: int) -> Work:
    predictions = predictions_of(candidates)
    return Work(lambda: plain.suppress(predictions[0], CONF_THRES, IOU_THRES, MAX_DET).numpy())


def detect_by_us(candidates: int) -> Work:
    predictions = scored(predictions_of(candidates))

    def run() -> Any:
        found = non_max_suppression(predictions, conf_thres=CONF_THRES, iou_thres=IOU_THRES, max_det=MAX_DET)
        return found[0].numpy()

    return Work(run)


def same_detections(theirs: Any, mine: Any) -> str:
    assert theirs.tobytes() == mine.tobytes(), "other detections"
    return f"same {len(mine)} detections to the last bit"
