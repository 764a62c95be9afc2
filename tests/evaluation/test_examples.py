"""The page of images with boxes: which are chosen, and what is drawn."""

from pathlib import Path

import cv2
import numpy as np

from compressor.data.dataset import Sample, load_dataset, read_split
from compressor.evaluation.coco import Predictions
from compressor.evaluation.examples import examples_png
from trials.tiny import NAMES, tiny_data

Row = tuple[int, tuple[float, float, float, float], float, int]  # image, box, score, class


def samples(folder: Path) -> tuple[Sample, ...]:
    return read_split(load_dataset(str(tiny_data(folder))), "val").samples


def predictions(rows: list[Row], images: int) -> Predictions:
    rows = sorted(rows, key=lambda row: row[0])
    index, boxes, scores, classes = zip(*rows, strict=True)
    return Predictions(
        tuple(range(images)),
        np.array(index, dtype=np.int32),
        np.array(boxes, dtype=np.float64),
        np.array(scores, dtype=np.float64),
        np.array(classes, dtype=np.int32),
    )


BOX = (5.0, 5.0, 20.0, 20.0)
ALIKE: list[Row] = [(image, BOX, 0.9, 0) for image in range(6)]


def shown(folder: Path, before: list[Row], after: list[Row], count: int) -> np.ndarray | None:
    known = samples(folder)
    made = examples_png(known, range(6), predictions(before, 6), predictions(after, 6), count, NAMES)
    return None if made is None else cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_COLOR)


def test_models_that_find_the_same_have_no_page(tmp_path: Path) -> None:
    moved = [(image, (6.0, 5.0, 20.0, 20.0), 0.5, 0) for image, *_ in ALIKE]
    assert shown(tmp_path, ALIKE, moved, 4) is None
    unsure = [*ALIKE, (2, (40.0, 5.0, 10.0, 10.0), 0.2, 1)]  # below the score that is shown
    assert shown(tmp_path, ALIKE, unsure, 4) is None


def test_the_images_that_differ_most_come_first(tmp_path: Path) -> None:
    after = [*ALIKE, (1, (40.0, 5.0, 10.0, 10.0), 0.3, 1), (4, (40.0, 5.0, 10.0, 10.0), 0.8, 1)]
    both, most = shown(tmp_path, ALIKE, after, 4), shown(tmp_path, ALIKE, after, 1)
    assert both is not None
    assert most is not None
    heights = [round(360 if s.height >= s.width else 480 * s.height / s.width) for s in samples(tmp_path)]
    assert most.shape[0] == 26 + heights[4] + 8
    assert both.shape[0] == most.shape[0] + heights[1] + 8
    assert np.array_equal(both[: most.shape[0]], most)


def test_another_class_is_another_box(tmp_path: Path) -> None:
    other = [(image, box, score, 1 if image == 3 else kind) for image, box, score, kind in ALIKE]
    page = shown(tmp_path, ALIKE, other, 4)
    assert page is not None
    orange = (page.astype(int) - (0, 80, 200)).__abs__().sum(axis=2) < 30
    left, right = orange[:, : page.shape[1] // 2], orange[:, page.shape[1] // 2 :]
    assert left.sum() > 100
    assert right.sum() > 100
