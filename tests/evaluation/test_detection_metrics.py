import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from compressor.evaluation.detection_metrics import average_precision, per_class, summarise
from tests.oracles.vectors import committed

TIGHT = 1e-12


@pytest.mark.parametrize("name", ["ap0", "ap1", "ap2", "ap3", "ap4"])
def test_figures_are_upstreams(golden: Path, name: str) -> None:
    vectors = load_file(golden / "metrics.safetensors")
    cases = json.loads((golden / "metrics.json").read_text())["ap_per_class"]
    expected = next(case for case in cases if case["id"] == name)["expected"]["v6.2-v7.0"]
    tp, conf, pred_cls, target_cls = (vectors[f"{name}.{key}"] for key in ("tp", "conf", "pred_cls", "target_cls"))
    figures = per_class(tp.astype(bool), conf, pred_cls, target_cls)
    assert figures.classes.tolist() == expected["classes"]
    for ours, key in ((figures.P, "p"), (figures.R, "r"), (figures.F1, "f1"), (figures.AP, "ap")):
        np.testing.assert_allclose(ours, np.array(expected[key]).reshape(ours.shape), rtol=0, atol=TIGHT)
    names = [str(index) for index in range(100)]
    means, classes = summarise(figures, names, dict.fromkeys(range(100), 1))
    ours_means = (means.P, means.R, means.mAP50, means.mAP50_95)
    assert ours_means == pytest.approx(expected["mean_p_r_map50_map"], rel=0, abs=TIGHT)
    assert [figures.instances.sum()] == [len(target_cls)]
    assert [c.name for c in classes] == [str(c) for c in expected["classes"]]


def test_figures_are_those_of_the_committed_vectors() -> None:
    vectors = committed("figures")
    detections = np.concatenate([vectors[f"{i}.detections"] for i in range(6)])
    labels = np.concatenate([vectors[f"{i}.labels"][:, 0] for i in range(6)])
    tp = np.concatenate([vectors[f"{i}.right"] for i in range(6)])
    figures = per_class(tp, detections[:, 4], detections[:, 5], labels)
    assert figures.classes.tolist() == vectors["classes"].tolist() == [0, 1, 2]
    for ours, key in ((figures.P, "P"), (figures.R, "R"), (figures.AP, "AP")):
        np.testing.assert_allclose(ours, vectors[key], rtol=0, atol=TIGHT)


def test_a_perfect_class_has_ap_0_995() -> None:
    figures = per_class(np.ones((4, 10), bool), np.array([0.9, 0.8, 0.7, 0.6]), np.zeros(4), np.zeros(4))
    assert figures.AP.tolist() == [pytest.approx([0.995] * 10)]
    assert figures.P.tolist() == pytest.approx([1])


def test_average_precision_by_hand() -> None:
    # Right, wrong, right, of two labels: the envelope is 1 below recall 1/2, 2/3 from there, and 0 at recall 1.
    precision, recall = np.array([1, 1 / 2, 2 / 3]), np.array([1 / 2, 1 / 2, 1])
    trapezoids = 49 * 1 + (1 + 2 / 3) / 2 + 49 * 2 / 3 + (2 / 3 + 0) / 2
    assert average_precision(precision, recall) == pytest.approx(trapezoids / 100, rel=1e-12)


def test_classes_without_detections_count_as_zero_and_classes_without_labels_do_not_count() -> None:
    tp = np.ones((2, 10), bool)
    tp[1] = False
    figures = per_class(tp, np.array([0.9, 0.8]), np.array([0, 7]), np.array([0, 2, 2]))
    assert figures.classes.tolist() == [0, 2]
    assert figures.instances.tolist() == [1, 2]
    assert figures.AP[0].tolist() == pytest.approx([0.995] * 10)
    assert figures.AP[1].tolist() == [0] * 10
    assert (figures.P[1], figures.R[1]) == (0, 0)
    means, classes = summarise(figures, ["a", "b", "c"], {0: 1, 2: 2})
    assert means.mAP50 == pytest.approx(0.995 / 2)
    assert [(c.index, c.name, c.images, c.instances) for c in classes] == [(0, "a", 1, 1), (2, "c", 2, 2)]


def test_nothing_right_is_zero_everywhere() -> None:
    wrong = per_class(np.zeros((3, 10), bool), np.ones(3), np.zeros(3), np.zeros(2))
    nothing = per_class(np.zeros((0, 10), bool), np.zeros(0), np.zeros(0), np.zeros(2))
    for figures in (wrong, nothing):
        means, classes = summarise(figures, ["a"], {0: 1})
        assert (means.P, means.R, means.mAP50, means.mAP50_95) == (0, 0, 0, 0)
        assert len(classes) == 1


def test_without_labels_nothing_was_measured() -> None:
    figures = per_class(np.zeros((3, 10), bool), np.ones(3), np.zeros(3), np.zeros(0))
    means, classes = summarise(figures, ["a"], {})
    assert (means.P, means.R, means.mAP50, means.mAP50_95) == (None, None, None, None)
    assert classes == ()
