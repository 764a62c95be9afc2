import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor

from compressor.evaluation.nms import MAX_WH, Limits, float32_at_most, non_max_suppression, suppress
from compressor.models.yolov5.detect import scored
from tests.oracles.vectors import SUPPRESSION, candidates, committed

CASES = [
    "val_multilabel",
    "val_multilabel_065",
    "single_class",
    "max_det_10",
    "empty",
    "degenerate",
    "max_nms",
]


@pytest.mark.parametrize("name", CASES)
def test_detections_are_upstreams_bit_for_bit(golden: Path, name: str) -> None:
    case: dict[str, Any] = next(c for c in json.loads((golden / "nms.json").read_text())["cases"] if c["id"] == name)
    expected = load_file(golden / "nms.safetensors")
    predictions = candidates(**case["pred"])
    assert zlib.crc32(predictions.tobytes()) == case["input_crc32"]
    args = case["args"]
    results = non_max_suppression(
        scored(torch.from_numpy(predictions)),
        conf_thres=args["conf_thres"],
        iou_thres=args["iou_thres"],
        max_det=args.get("max_det", 300),
    )
    for image, detections in enumerate(results):
        assert detections.numpy().tobytes() == expected[f"{name}.{image}"].tobytes()


@pytest.mark.parametrize("case", SUPPRESSION)
def test_detections_are_those_of_the_committed_vectors_bit_for_bit(case: str) -> None:
    vectors = committed("suppression")
    (found,) = non_max_suppression(scored(torch.from_numpy(vectors[f"{case}.rows"])[None]), **SUPPRESSION[case])
    assert found.numpy().tobytes() == vectors[f"{case}.detections"].tobytes()


def plain_greedy(boxes: NDArray[np.float32], iou_thres: float, max_det: int) -> list[int]:
    """The definition: a box stays unless a kept, earlier one overlaps it by more than the threshold, in double."""
    kept: list[int] = []
    with np.errstate(all="ignore"):
        for row in range(len(boxes)):
            if len(kept) < max_det and not any(float(iou(boxes[k], boxes[row])) > iou_thres for k in kept):
                kept.append(row)
    return kept


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    width = np.maximum(np.float32(0), np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]))
    height = np.maximum(np.float32(0), np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]))
    intersection = width * height
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    quotient: np.float32 = intersection / (area_a + area_b - intersection)
    return quotient


def rows_kept(boxes: NDArray[np.float32], iou_thres: float, max_det: int) -> list[int]:
    """Rows that `suppress` keeps of boxes of one class; the scores tell which they are."""
    scores = 1 - np.arange(len(boxes), dtype=np.float32)[:, None] / 1024
    found = suppress(np.concatenate((boxes, scores, 0 * scores), axis=1), Limits(iou_thres, max_det))
    return [round((1 - float(score)) * 1024) for score in found[:, 4]]


COORDINATE = st.one_of(
    st.integers(0, 8).map(float),  # small whole numbers make ties, equal boxes and boxes without area
    st.floats(-20, 20, width=32),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 9000.0]),
)
BOXES = st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE), max_size=40)
IOU_THRES = st.one_of(st.sampled_from([0.0, 0.5, 0.6, 0.65, 1.0, 1 / 3]), st.floats(0, 1))


@given(BOXES, IOU_THRES, st.integers(1, 12))
@example([(0, 0, 3, 1), (0, 0, 5, 1)], 0.6, 12)  # float32(0.6) is above the double 0.6, so this IoU of 3/5 is too
@example([(0, 0, 1, 1), (0, 0, 1, 1)], 1.0, 12)
@example([], 0.5, 1)
def test_greedy_equals_the_plain_loop(rows: list[tuple[float, ...]], iou_thres: float, max_det: int) -> None:
    boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
    assert rows_kept(boxes, iou_thres, max_det) == plain_greedy(boxes, iou_thres, max_det)


@pytest.mark.parametrize("classes", [1, 5, 80])
@pytest.mark.parametrize("max_det", [3, 20, 300])
@pytest.mark.parametrize("max_nms", [150, 2000])
@pytest.mark.parametrize("far", [False, True])
def test_many_candidates_are_suppressed_as_by_the_plain_loop(
    classes: int, max_det: int, max_nms: int, far: bool
) -> None:
    """Also where scores are tied, and where a box is so far off that it meets those of another class."""
    rs = np.random.RandomState(classes)
    corner, size = rs.random_sample((500, 2)) * 300, 10 + rs.random_sample((500, 2)) * 60
    boxes = np.concatenate((corner, corner + size), axis=1)
    if far:
        boxes[::7, 0::2] += MAX_WH
        boxes[::7, 1::2] += MAX_WH
    scores, category = rs.random_sample((500, 1)).round(2), rs.randint(0, classes, (500, 1))
    candidates = np.concatenate((boxes, scores, category), axis=1).astype(np.float32)
    ordered = candidates[np.argsort(-candidates[:, 4], kind="stable")][:max_nms]
    moved = ordered[:, :4] + ordered[:, 5:] * np.float32(MAX_WH)
    expected = ordered[plain_greedy(moved, 0.45, max_det)]
    found = suppress(candidates, Limits(0.45, max_det, max_nms))
    assert found.tobytes() == expected.tobytes()


def test_candidates_are_those_of_plain_arithmetic() -> None:
    rs = np.random.RandomState(3)
    rows = rs.random_sample((400, 8)).astype(np.float32)
    rows[:, :4] *= 200
    rows[::50, 5] = np.nan
    found = non_max_suppression(scored(torch.from_numpy(rows)[None]), conf_thres=0.3, iou_thres=1.0, max_det=5000)[
        0
    ].numpy()
    expected = []
    for x, y, w, h, objectness, *probabilities in rows:
        if not objectness > np.float32(0.3):
            continue
        scores = np.array(probabilities) * objectness
        half = np.float32(2)
        corners = (x - w / half, y - h / half, x + w / half, y + h / half)
        expected += [(*corners, scores[k], k) for k in range(3) if scores[k] > np.float32(0.3)]
    table = np.array(expected, np.float32)
    table = table[np.argsort(-table[:, 4], kind="stable")]
    assert len(table) > 100
    assert found.tobytes() == table.tobytes()


@given(st.floats(0, 1), st.floats(0, 1, width=32))
def test_float32_limit_compares_as_the_double(threshold: float, value: float) -> None:
    assert (np.float32(value) > float32_at_most(threshold)) == (value > threshold)


def prediction(*rows: tuple[float, ...]) -> Tensor:
    """Of rows with box, objectness and class probabilities."""
    return scored(torch.tensor(rows)[None])


def detect(rows: Tensor, **options: Any) -> list[list[float]]:
    found: list[list[float]] = non_max_suppression(rows, **{"conf_thres": 0.1, "iou_thres": 0.5, **options})[0].tolist()
    return found


def test_thresholds_are_exclusive() -> None:
    rows = prediction((5, 5, 2, 2, 0.5, 1.0), (15, 5, 2, 2, 1.0, 0.5), (25, 5, 2, 2, 0.75, 1.0))
    assert detect(rows, conf_thres=0.5) == [[24, 4, 26, 6, 0.75, 0]]


def test_a_box_is_detected_once_for_each_of_its_classes() -> None:
    rows = prediction((5, 5, 2, 2, 1.0, 0.5, 0.75))
    assert detect(rows) == [[4, 4, 6, 6, 0.75, 1], [4, 4, 6, 6, 0.5, 0]]


def test_equal_scores_stay_in_row_order() -> None:
    rows = prediction(*((10 * i + 5, 5, 2, 2, 1.0, 0.5) for i in range(30)))
    assert [row[0] for row in detect(rows)] == [10 * i + 4 for i in range(30)]
    assert [row[0] for row in detect(rows, max_nms=2)] == [4, 14]
    assert [row[0] for row in detect(rows, max_det=3)] == [4, 14, 24]


def test_rows_that_are_not_numbers_do_no_harm() -> None:
    nan, inf = float("nan"), float("inf")
    good = (5.0, 5.0, 2.0, 2.0, 1.0, 0.75, 0.0)
    rows = prediction((5, 5, 2, 2, nan, 1, 1), (5, 5, 2, 2, 1, nan, nan), (5, 5, nan, 2, 1, 0.5, 0), good)
    found = detect(rows)
    assert found[0] == [4, 4, 6, 6, 0.75, 0]
    assert [row[4] for row in found] == [0.75, 0.5]  # the box that is not a number is there to be seen
    assert detect(prediction((5, 5, inf, inf, 1, 0.5, 0), good))[0] == [4, 4, 6, 6, 0.75, 0]


def test_no_rows_and_half_precision() -> None:
    assert [len(image) for image in non_max_suppression(torch.zeros(2, 0, 7), conf_thres=0.1, iou_thres=0.5)] == [0, 0]
    rows = prediction((5, 5, 2, 2, 0.5, 0.3, 0.9)).half()
    (found,) = non_max_suppression(rows, conf_thres=0.1, iou_thres=0.5)
    assert found.dtype == torch.float32
    assert found[0, 4] == rows[0, 0, 5].float()
