import gzip
import io
import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from compressor.data.dataset import Sample
from compressor.errors import DatasetError
from compressor.evaluation.annotated import ground_truth_from_annotations
from compressor.evaluation.coco import (
    COCO_CATEGORY_IDS,
    COCO_NAMES,
    GroundTruth,
    Predictions,
    as_objects,
    ground_truth_from_labels,
    to_predictions,
    write_predictions,
)
from compressor.evaluation.coco_engine import evaluate_coco
from compressor.evaluation.coco_figures import coco_metrics
from compressor.evaluation.coco_file import ImageId

NAMES = ("cat", "dog")


def sample(image: str, *labels: tuple[float, ...], width: int = 200, height: int = 100) -> Sample:
    rows = np.array(labels, dtype=np.float32).reshape(-1, 5)
    return Sample(image=Path(image), width=width, height=height, labels=rows)


def perfect_predictions(samples: list[Sample], truth: GroundTruth) -> Predictions:
    """Every labelled box, found with score 0.9."""
    detections = []
    for one in samples:
        size = torch.tensor([one.width, one.height]).repeat(2)
        xywh = torch.from_numpy(one.labels[:, 1:]) * size
        corners = torch.cat((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2), dim=1)
        scores = torch.full((len(one.labels), 1), 0.9)
        detections.append(torch.cat((corners, scores, torch.from_numpy(one.labels[:, :1])), dim=1))
    return to_predictions(detections, truth.image_ids)


def ap_of(truth: GroundTruth, *detections: list[list[float]]) -> float | None:
    """AP of rows x1, y1, x2, y2, score, class per image; pycocotools' own stops an eps short of 1."""
    images = [torch.tensor(rows).reshape(-1, 6) for rows in detections]
    figure = coco_metrics(evaluate_coco(truth, to_predictions(images, truth.image_ids))).AP
    return figure if figure is None else round(figure, 12)


def plain_pycocotools(truth: dict[str, Any], entries: list[dict[str, Any]]) -> list[float]:
    """What pycocotools says when it is used as its own documentation does."""
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(entries), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats]


def plain_dataset(truth: GroundTruth) -> dict[str, Any]:
    """What pycocotools reads of an annotation file, with images numbered by the order of their names."""
    numbers = numbered(truth.image_ids)
    return {
        "images": [{"id": number} for number in numbers.values()],
        "annotations": [{**each, "image_id": numbers[each["image_id"]]} for each in truth.annotations],
        "categories": list(truth.categories),
    }


def plain_entries(predictions: Predictions) -> list[dict[str, Any]]:
    """What pycocotools reads of a results file; the class is the category."""
    numbers = numbered(predictions.image_ids)
    columns = (predictions.image_index, predictions.classes, predictions.boxes, predictions.scores)
    return [
        {"image_id": numbers[predictions.image_ids[i]], "category_id": int(c), "bbox": b.tolist(), "score": float(s)}
        for i, c, b, s in zip(*columns, strict=True)
    ]


def numbered(image_ids: tuple[ImageId, ...]) -> dict[ImageId, int]:
    return {image_id: rank for rank, image_id in enumerate(sorted(image_ids, key=str))}


def test_cocos_own_classes() -> None:
    assert len(COCO_NAMES) == len(COCO_CATEGORY_IDS) == 80
    by_name = dict(zip(COCO_NAMES, COCO_CATEGORY_IDS, strict=True))
    assert [by_name[name] for name in ("person", "stop sign", "cow", "toothbrush")] == [1, 13, 21, 90]


REFERENCE = {
    "coco128_baseline": ("none", 0.0, None),
    "coco_val_baseline": ("none", 0.0, None),
    "coco_val_before_fuse_per_layer_0.3": ("utils", 0.3, "before fusing BatchNorm"),
    "coco_val_after_fuse_per_layer_0.3": ("utils", 0.3, "after fusing BatchNorm"),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_upstreams_predictions_get_upstreams_figures(shared: Path, name: str) -> None:
    dataset = "coco128" if name.startswith("coco128") else "coco_val"
    annotations = shared / "data" / dataset / "annotations.json"
    entries = json.loads(gzip.decompress((shared / "data/reference_predictions" / f"{name}.json.gz").read_bytes()))
    records = json.loads(annotations.read_text())["images"]
    samples = [sample(record["file_name"], width=record["width"], height=record["height"]) for record in records]
    truth = ground_truth_from_annotations(annotations, samples, COCO_NAMES)
    assert truth.official
    position = {image_id: index for index, image_id in enumerate(truth.image_ids)}
    class_of = {number: index for index, number in enumerate(COCO_CATEGORY_IDS)}
    predictions = Predictions(
        image_ids=truth.image_ids,
        image_index=np.array([position[entry["image_id"]] for entry in entries], dtype=np.int32),
        boxes=np.array([entry["bbox"] for entry in entries]),
        scores=np.array([entry["score"] for entry in entries]),
        classes=np.array([class_of[entry["category_id"]] for entry in entries], dtype=np.int32),
    )
    method, amount, order = REFERENCE[name]
    runs = json.loads((shared / "data/reference_metrics.json").read_text())[dataset]
    (run,) = [r for r in runs if r["method"].startswith(method) and r["amount"] == amount and r["order"] == order]
    assert list(astuple(coco_metrics(evaluate_coco(truth, predictions)))) == list(run["pycocotools"].values())


def test_two_perfect_boxes_have_ap_1() -> None:
    samples = [sample("1.jpg", (0, 0.5, 0.5, 0.25, 0.5)), sample("2.jpg", (1, 0.25, 0.5, 0.25, 0.5))]
    truth = ground_truth_from_labels(samples, NAMES)
    metrics = coco_metrics(evaluate_coco(truth, perfect_predictions(samples, truth)))
    figures = [metrics.AP, metrics.AP50, metrics.AP75, metrics.APm, metrics.AR1, metrics.AR100]
    assert figures == pytest.approx([1] * 6)
    assert (metrics.APs, metrics.APl) == (None, None)  # both boxes are 50 x 50 px


def test_ground_truth_from_labels() -> None:
    truth = ground_truth_from_labels([sample("x/000012.jpg", (1, 0.5, 0.5, 0.25, 0.5)), sample("x/b.jpg")], NAMES)
    assert truth.image_ids == (12, "b")
    assert truth.category_ids == (0, 1)
    assert not truth.official
    assert truth.images[0] == {"id": 12, "file_name": "000012.jpg", "width": 200, "height": 100}
    assert truth.annotations == (
        {"id": 1, "image_id": 12, "category_id": 1, "bbox": [75, 25, 50, 50], "area": 2500, "iscrowd": 0},
    )
    assert ground_truth_from_labels([sample("a.jpg")], COCO_NAMES).category_ids == COCO_CATEGORY_IDS


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (("d/a/1.jpg", "d/b/1.jpg"), ("a/1", "b/1")),
        (("d/01.jpg", "d/1.jpg"), ("01", "1")),
        (("d/1.jpg", "d/1.png"), ("1.jpg", "1.png")),
        (("d/1.jpg", "d/x.jpg"), (1, "x")),
        (("/c/1.jpg", "d/1.jpg"), ("/c/1", "d/1")),  # no common folder, as on two Windows drives
    ],
)
def test_image_ids_are_stems_or_else_paths(paths: tuple[str, ...], ids: tuple[Any, ...]) -> None:
    samples = [sample(path, (0, 0.5, 0.5, 0.25, 0.5)) for path in paths]
    truth = ground_truth_from_labels(samples, NAMES)
    assert truth.image_ids == ids
    assert astuple(coco_metrics(evaluate_coco(truth, perfect_predictions(samples, truth))))[0] == pytest.approx(1)


def test_an_image_listed_twice_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"D406 a\.jpg, a\.jpg are the same image"):
        ground_truth_from_labels([sample("d/a.jpg"), sample("d/b.jpg"), sample("d/a.jpg")], NAMES)


def test_many_objects_in_one_image_are_matched_as_by_pycocotools() -> None:
    rs = np.random.RandomState(0)
    labels = np.concatenate((np.zeros((1000, 1)), rs.uniform(0.2, 0.6, (1000, 4))), axis=1)
    truth = ground_truth_from_labels([sample("a.jpg", *map(tuple, labels.tolist()))], NAMES)
    corners = truth.objects.boxes[:50] + rs.uniform(-4, 4, (50, 4))
    corners[:, 2:] += corners[:, :2]
    rows = np.concatenate((corners, rs.uniform(0.1, 0.9, (50, 1)), np.zeros((50, 1))), axis=1)
    predictions = to_predictions([torch.from_numpy(rows.astype(np.float32))], truth.image_ids)
    ours, theirs = evaluate_coco(truth, predictions), evaluate_coco(truth, predictions, "pycocotools")
    assert astuple(coco_metrics(ours)) == astuple(coco_metrics(theirs))
    assert 0 < (coco_metrics(ours).AR100 or 0) <= 50 / 1000


def test_nothing_detected_is_ap_0_and_nothing_to_find_is_undefined() -> None:
    labelled = ground_truth_from_labels([sample("a.jpg", (0, 0.5, 0.5, 0.25, 0.5))], NAMES)
    assert ap_of(labelled, []) == 0
    empty = ground_truth_from_labels([sample("a.jpg")], NAMES)
    assert ap_of(empty, []) is None
    assert ap_of(empty, [[0, 0, 50, 50, 0.9, 1]]) is None


def test_images_without_labels_count_their_false_positives() -> None:
    samples = [sample("a.jpg", (0, 0.5, 0.5, 0.25, 0.5)), sample("b.jpg")]
    truth = ground_truth_from_labels(samples, NAMES)
    right, wrong = [75.0, 25.0, 125.0, 75.0, 0.5, 0.0], [0.0, 0.0, 50.0, 50.0, 0.9, 0.0]
    assert ap_of(truth, [right], [wrong]) == 0.5
    assert ap_of(truth, [right], []) == 1


@given(st.integers(0, 2**31 - 1), st.booleans())
def test_figures_are_those_of_pycocotools_used_plainly(seed: int, as_text: bool) -> None:
    rs = np.random.RandomState(seed)
    samples = []
    for number in rs.permutation(6).tolist():
        count = rs.randint(1, 6)
        labels = np.concatenate((rs.randint(0, 2, (count, 1)), rs.uniform(0.3, 0.7, (count, 4))), axis=1)
        samples.append(sample(f"{'img' if as_text else ''}{number}.jpg", *map(tuple, labels.tolist())))
    truth = ground_truth_from_labels(samples, NAMES)
    detections = []
    for exact in np.split(perfect_predictions(samples, truth).boxes, np.cumsum([len(s.labels) for s in samples])[:-1]):
        boxes = exact + rs.uniform(-6, 6, exact.shape)
        scores = rs.randint(1, 6, (len(boxes), 1)) / 8  # many are equal
        corners = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
        rows = np.concatenate((corners, scores, rs.randint(0, 2, (len(boxes), 1))), axis=1)
        detections.append(torch.from_numpy(rows.astype(np.float32)))
    predictions = to_predictions(detections, truth.image_ids)
    ours = [-1 if figure is None else figure for figure in astuple(coco_metrics(evaluate_coco(truth, predictions)))]
    assert ours == plain_pycocotools(plain_dataset(truth), plain_entries(predictions))


def crowded_scene(seed: int) -> tuple[GroundTruth, Predictions]:
    """Objects and detections on a coarse grid, so that areas stand on the bounds, and overlaps and scores are equal.

    Of four images one has objects and no detections, and one the reverse; the first gets more than 100 of one class.
    """
    rs = np.random.RandomState(seed)
    sides = (31, 32, 33, 95, 96, 97)
    annotations: list[dict[str, Any]] = []
    rows = []
    for image, (objects, detections) in enumerate(((12, 260), (8, 0), (0, 8), (10, 40))):
        for _ in range(objects):
            side = int(rs.choice(sides))
            box = [*(rs.randint(0, 3, 2) * 8).tolist(), side, side]
            area = int(rs.choice([side * side, 1023, 1024, 1025, 9215, 9216, 9217]))
            object_ = {
                "image_id": image,
                "category_id": int(rs.randint(2)),
                "bbox": box,
                "iscrowd": int(rs.rand() < 0.2),
            }
            annotations += [{**object_, "area": area}] * rs.randint(1, 3)  # equal ones at the same place
        for _ in range(detections):
            side = rs.choice(sides)
            score = rs.randint(1, 9) / 8  # equal ones, in one image and over several
            rows.append((image, *(rs.randint(0, 5, 2) * 4), side, side, score, rs.rand() < 0.3))
    annotations.append({"image_id": 3, "category_id": 2, "bbox": [9, 9, 50, 50], "area": 2500, "iscrowd": 0})
    rows.append((3, 9, 9, 50, 50, 0.5, 2))  # all there is to find, found at once: an eps short of 1
    columns = np.array(rows, dtype=np.float64)
    truth = GroundTruth(
        images=tuple({"id": image} for image in range(4)),
        objects=as_objects(annotations, (0, 1, 2, 3)),
        categories=({"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "bird"}),
        category_ids=(0, 1, 2),
        image_ids=(0, 1, 2, 3),
        official=False,
    )
    predictions = Predictions(
        image_ids=truth.image_ids,
        image_index=columns[:, 0].astype(np.int32),
        boxes=columns[:, 1:5],
        scores=columns[:, 5],
        classes=columns[:, 6].astype(np.int32),
    )
    return truth, predictions


@pytest.mark.parametrize("seed", range(6))
def test_matches_and_figures_of_a_crowded_scene_are_those_of_pycocotools(seed: int) -> None:
    """At most 100 detections, sizes at their bounds, crowds, and the last among equal overlaps."""
    truth, predictions = crowded_scene(seed)
    ours, theirs = evaluate_coco(truth, predictions), evaluate_coco(truth, predictions, "pycocotools")
    assert astuple(coco_metrics(ours)) == astuple(coco_metrics(theirs))
    for name in ("precision", "recall", "recall_of_few"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert len(ours.matches) == len(theirs.matches) == 3
    for mine, other in zip(ours.matches, theirs.matches, strict=True):
        for name in ("images", "true", "false", "objects"):
            assert np.array_equal(getattr(mine, name), getattr(other, name)), name
    assert list(astuple(coco_metrics(ours))) == plain_pycocotools(plain_dataset(truth), plain_entries(predictions))


FLOAT32 = st.floats(0, 8192, width=32)


@given(st.lists(st.tuples(FLOAT32, FLOAT32, FLOAT32, FLOAT32, st.floats(0, 1, width=32)), max_size=20))
def test_rounding_is_that_of_python(rows: list[tuple[float, ...]]) -> None:
    corners = torch.tensor(rows).reshape(-1, 5)
    predictions = to_predictions([torch.cat((corners, torch.zeros(len(rows), 1)), dim=1)], ["a"])
    x1, y1, x2, y2, score = corners.unbind(dim=1)
    width, height = x2 - x1, y2 - y1
    columns = ((x1 + x2) / 2 - width / 2, (y1 + y2) / 2 - height / 2, width, height)
    boxes = [[round(value, 3) for value in row] for row in torch.stack(columns, dim=1).tolist()]
    assert predictions.boxes.tolist() == boxes
    assert predictions.scores.tolist() == [round(value, 5) for value in score.tolist()]


def test_predictions_are_written_in_order(tmp_path: Path) -> None:
    rows = torch.tensor([[10.0, 20.0, 30.0, 60.0, 0.123456789, 1.0]])
    predictions = to_predictions([rows, rows[:0], rows], [139, "b", "c"])
    write_predictions(predictions, (1, 90), tmp_path / "p.json")
    entry = {"category_id": 90, "bbox": [10, 20, 20, 40], "score": 0.12346}
    expected = [{"image_id": 139, **entry}, {"image_id": "c", **entry}]
    assert json.loads((tmp_path / "p.json").read_text()) == expected
    write_predictions(to_predictions([], []), (1, 90), tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there names of files are text")
def test_the_id_of_an_image_whose_name_is_no_text_is_text() -> None:
    names = [f"/a/{os.fsdecode(b'caf' + bytes([byte]))}.png" for byte in (0xE8, 0xE9)]
    truth = ground_truth_from_labels([sample(name) for name in names], ("x",))
    assert truth.image_ids == (r"caf\xe8", r"caf\xe9")
