import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from compressor.evaluation.matching import IOU_THRESHOLDS, match
from tests.oracles.vectors import committed


@pytest.mark.parametrize("name", ["match0", "match1", "match2", "match3"])
def test_true_positives_are_upstreams(golden: Path, name: str) -> None:
    vectors = load_file(golden / "metrics.safetensors")
    found = match(vectors[f"{name}.detections"], vectors[f"{name}.labels"])
    assert torch.equal(found, vectors[f"{name}.correct_v62_v70"].bool())
    summary = next(c for c in json.loads((golden / "metrics.json").read_text())["match"] if c["id"] == name)
    assert found.sum(dim=0).tolist() == summary["col_sums_v62_v70"]


def test_true_positives_are_those_of_the_committed_vectors() -> None:
    vectors = {key: torch.from_numpy(array) for key, array in committed("figures").items()}
    for i in range(6):
        assert torch.equal(match(vectors[f"{i}.detections"], vectors[f"{i}.labels"]), vectors[f"{i}.right"]), i
    assert 0 < vectors["2.right"][:, 9].sum() < vectors["2.right"][:, 0].sum() < len(vectors["2.right"])


def pairwise_iou(a: Tensor, b: Tensor, eps: float) -> Tensor:
    """Intersection over union of every box of `a` with every box of `b`, (n, m)."""
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(dim=-1), (b[:, 2:] - b[:, :2]).prod(dim=-1)
    return intersection / (area_a[:, None] + area_b - intersection + eps)


def plain_match(detections: Tensor, labels: Tensor, threshold: Tensor) -> list[bool]:
    """The protocol in its own words, for one threshold."""
    iou = pairwise_iou(labels[:, 1:], detections[:, :4], 1e-7)
    same_class = labels[:, :1] == detections[:, 5]
    pairs = [(float(iou[m, n]), int(m), int(n)) for m, n in ((iou >= threshold) & same_class).nonzero()]
    pairs.sort(key=lambda pair: -pair[0])
    best: dict[int, int] = {}
    for _, label, detection in pairs:
        best.setdefault(detection, label)
    owner: dict[int, int] = {}
    for detection in sorted(best):
        owner.setdefault(best[detection], detection)
    return [n in owner.values() for n in range(len(detections))]


@given(st.integers(0, 2**31 - 1), st.integers(0, 30), st.integers(0, 8))
def test_equals_the_plain_protocol(seed: int, n: int, m: int) -> None:
    rs = np.random.RandomState(seed)
    boxes = np.sort(rs.randint(0, 12, (n + m, 2, 2)), axis=1).reshape(-1, 4)
    classes = rs.randint(0, 2, (n + m, 1))
    scores = -np.sort(-rs.random_sample((n, 1)), axis=0)
    detections = torch.from_numpy(np.concatenate((boxes[:n], scores, classes[:n]), axis=1).astype(np.float32))
    labels = torch.from_numpy(np.concatenate((classes[n:], boxes[n:]), axis=1).astype(np.float32))
    found = match(detections, labels)
    for column, threshold in enumerate(IOU_THRESHOLDS):
        assert found[:, column].tolist() == plain_match(detections, labels, threshold)


def test_a_label_goes_to_the_best_score_not_the_best_overlap() -> None:
    labels = torch.tensor([[0.0, 0.0, 0.0, 10.0, 10.0]])
    detections = torch.tensor([[0.0, 0.0, 10.0, 6.0, 0.9, 0.0], [0.0, 0.0, 10.0, 10.0, 0.8, 0.0]])
    found = match(detections, labels)
    assert found[:, 0].tolist() == [True, False]  # at 0.50 both overlap enough
    assert found[:, 9].tolist() == [False, True]  # at 0.95 only the second does


def test_nothing_detected_or_nothing_labelled() -> None:
    assert match(torch.zeros(0, 6), torch.zeros(3, 5)).shape == (0, 10)
    assert match(torch.zeros(2, 6), torch.zeros(0, 5)).tolist() == [[False] * 10] * 2
