"""The bootstrap's AP, against pycocotools on images that are really drawn."""

from typing import Any

import numpy as np
import pytest

from compressor.evaluation.bootstrap import average_precisions, resampled_weights
from compressor.evaluation.coco import GroundTruth, Predictions, Record, as_objects
from compressor.evaluation.coco_engine import evaluate_coco
from compressor.evaluation.coco_figures import coco_metrics

CLASSES = 3
IMAGES = 12


def scene(seed: int) -> tuple[GroundTruth, Predictions]:
    """Random objects, and detections of most of them, of some that are not there, and of none of the last class."""
    random = np.random.RandomState(seed)
    annotations: list[Record] = []
    rows: list[tuple[Any, ...]] = []
    for image in range(IMAGES):
        for _ in range(random.randint(0, 5)):
            category, box = int(random.randint(0, CLASSES - 1)), random.uniform(10, 100, 4)
            record = {"image_id": image, "category_id": category + 1, "bbox": box.tolist(), "area": box[2] * box[3]}
            annotations.append({"id": len(annotations) + 1, "iscrowd": int(random.rand() < 0.1), **record})
            if random.rand() < 0.8:
                rows.append((image, box + random.normal(0, 8, 4).clip(-9, 9), random.rand(), category))
        if random.rand() < 0.5:
            rows.append((image, random.uniform(10, 100, 4), random.rand(), int(random.randint(0, CLASSES))))
    index, boxes, scores, classes = zip(*rows, strict=True)
    images = tuple({"id": i, "width": 200, "height": 200, "file_name": f"{i}.png"} for i in range(IMAGES))
    categories = tuple({"id": i + 1, "name": str(i)} for i in range(CLASSES))
    ids = tuple(range(IMAGES))
    truth = GroundTruth(images, as_objects(annotations, ids), categories, (1, 2, 3), ids, official=False)
    ints = np.array(index, dtype=np.int32), np.array(classes, dtype=np.int32)
    return truth, Predictions(truth.image_ids, ints[0], np.array(boxes), np.array(scores).round(5), ints[1])


@pytest.mark.parametrize("seed", range(5))
def test_every_image_once_is_what_pycocotools_says(seed: int) -> None:
    truth, predictions = scene(seed)
    (found,) = average_precisions(evaluate_coco(truth, predictions).matches, np.ones((1, IMAGES)))
    assert found[0] == pytest.approx(coco_metrics(evaluate_coco(truth, predictions, "pycocotools")).AP50, abs=1e-12)
    assert found.mean() == pytest.approx(coco_metrics(evaluate_coco(truth, predictions, "pycocotools")).AP, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_leaving_images_out_is_what_pycocotools_says_of_the_rest(seed: int) -> None:
    truth, predictions = scene(seed)
    kept = np.random.RandomState(seed).rand(IMAGES) < 0.6
    weights = kept[None].astype(np.float64)
    (found,) = average_precisions(evaluate_coco(truth, predictions).matches, weights)
    ids = tuple(i for i in range(IMAGES) if kept[i])
    objects = as_objects([each for each in truth.annotations if each["image_id"] in ids], ids)
    part = GroundTruth(truth.images, objects, truth.categories, truth.category_ids, ids, official=False)
    mine = np.isin(predictions.image_index, ids)
    new_index = np.searchsorted(ids, predictions.image_index[mine]).astype(np.int32)
    rest = Predictions(ids, new_index, predictions.boxes[mine], predictions.scores[mine], predictions.classes[mine])
    assert found[0] == pytest.approx(coco_metrics(evaluate_coco(part, rest, "pycocotools")).AP50, abs=1e-12)
    assert found.mean() == pytest.approx(coco_metrics(evaluate_coco(part, rest, "pycocotools")).AP, abs=1e-12)


def test_an_interval_holds_the_figure_and_depends_on_the_seed_alone() -> None:
    truth, predictions = scene(0)
    found = evaluate_coco(truth, predictions).matches
    weights = resampled_weights(IMAGES, 100, seed=1)
    assert (weights.sum(axis=1) == IMAGES).all()
    assert np.array_equal(weights, resampled_weights(IMAGES, 100, seed=1))
    assert not np.array_equal(weights, resampled_weights(IMAGES, 100, seed=2))
    low, high = np.quantile(average_precisions(found, weights).mean(axis=1), (0.025, 0.975))
    assert low < (coco_metrics(evaluate_coco(truth, predictions)).AP or 0) < high
