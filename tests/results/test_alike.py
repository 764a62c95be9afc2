"""Each thing on which a figure depends, changed alone, keeps two evaluations apart."""

from dataclasses import fields, replace
from typing import Any

import pytest

from compressor.results.alike import absence, alike, unlike
from compressor.results.evaluation import DataSummary, DetectionMetrics, Evaluation, EvaluationSettings
from compressor.results.gates import verdicts
from tests.report.made_up import evaluation

GATES = ("AP < -99", "kept.AP < 1", "P < -99", "worst_class < -99")  # of figures that change by 10 points at most


def changed(known: Evaluation, part: str, key: str, value: Any) -> Evaluation:
    return replace(known, **{part: replace(getattr(known, part), **{key: value})})


OTHERWISE = [
    ("data", "sha256", "ee" * 32, "images or labels, sha256 cdcdcdcdcdcd against eeeeeeeeeeee"),
    ("data", "images", 5, "images 40 against 5"),
    ("data", "ground_truth", "instances.json", "ground truth labels against instances.json"),
    ("data", "instances", 6, "labelled objects 50 against 6"),
    ("settings", "image_size", 320, "image size 640 against 320"),
    ("settings", "batch_size", 1, "batch size 8 against 1"),
    ("settings", "conf_thres", 0.25, "conf_thres 0.001 against 0.25"),
    ("settings", "iou_thres", 0.45, "iou_thres 0.65 against 0.45"),
    ("settings", "max_det", 100, "max_det 300 against 100"),
    ("settings", "resize", "floor", "resize ceil against floor"),
    ("settings", "precision", "float16", "precision float32 against float16"),
    (
        *("settings", "runs_on", "onnxruntime 1.20.1"),
        "shapes rectangles against unknown; runtime torch against onnxruntime 1.20.1",
    ),
    ("settings", "device", "cuda:0", "device cpu against cuda"),
    ("settings", "method", 2, "method 1 against 2"),
    ("settings", "shapes", "squares", "shapes rectangles against squares; batch size 8 against any"),
    ("settings", "used_size", 672, "image size 640 against 672"),
    ("settings", "most_per_class", 100, "most detections of a class any against 100"),
]
NO_DIFFERENCE = {  # fields that move no figure of a network
    "data": {
        *("source", "split"),  # the digest tells which images and labels these are
        *(
            "backgrounds",
            "skipped",
            "objects",
            "crowds",
            "not_evaluated",
            "with_objects",
        ),  # follow from them, the names and the method
        "names",  # has a test of its own
    },
    "settings": {"coco_engine"},
}


@pytest.mark.parametrize(("part", "key", "value", "expected"), OTHERWISE, ids=[key for _, key, _, _ in OTHERWISE])
def test_different_settings_are_named_and_pass_no_gate(part: str, key: str, value: Any, expected: str) -> None:
    a, b = evaluation(0.4), changed(evaluation(0.3, -0.1), part, key, value)
    assert "; ".join(map(str, unlike((a, b)))) == expected
    for one, other in ((a, b), (b, a)):
        for verdict in verdicts(GATES, one, other, None):
            assert (verdict.value, verdict.failed) == (None, True)
            assert verdict.reason.startswith("the two were not measured alike: ")
    assert expected in verdicts(GATES, a, b, None)[0].reason
    (own,) = verdicts(["after.AP < 20"], a, b, None)  # of one side alone
    assert own.value == pytest.approx(30)
    assert not own.failed


@pytest.mark.parametrize("part", [DataSummary, EvaluationSettings])
def test_every_field_keeps_apart_or_is_known_to_move_nothing(part: type[DataSummary | EvaluationSettings]) -> None:
    name = "data" if part is DataSummary else "settings"
    named = {key for where, key, _, _ in OTHERWISE if where == name}
    assert named | NO_DIFFERENCE[name] == {field.name for field in fields(part)}
    assert not named & NO_DIFFERENCE[name]


def test_equal_ways_are_alike_whatever_else_differs() -> None:
    a = evaluation(0.4)
    b = changed(changed(evaluation(0.2, -0.2), "data", "source", "moved.yaml"), "settings", "device", "cpu")
    assert alike(a, changed(b, "settings", "coco_engine", "compressor"))
    cuda = changed(a, "settings", "device", "cuda")
    assert alike(cuda, changed(b, "settings", "device", "cuda:1"))
    assert [verdict.failed for verdict in verdicts(GATES, a, b, None)] == [False] * len(GATES)


def test_a_setting_that_one_does_not_record_is_unknown_and_not_alike() -> None:
    a, b = evaluation(0.4), changed(evaluation(0.3), "data", "sha256", "")
    for one, other, expected in ((a, b, "cdcdcdcdcdcd against unknown"), (b, b, "unknown against unknown")):
        assert [str(each) for each in unlike((one, other))] == [f"images or labels, sha256 {expected}"]


def test_squares_are_alike_at_any_batch_size_and_an_old_graph_is_like_nothing() -> None:
    squares = changed(evaluation(0.4), "settings", "shapes", "squares")
    assert alike(squares, changed(squares, "settings", "batch_size", 1))
    old = changed(evaluation(0.4), "settings", "runs_on", "onnxruntime 1.20.1")  # whose records held no shapes
    assert [str(each) for each in unlike((old, old))] == ["shapes unknown against unknown"]


def test_class_names_are_those_of_the_data_else_those_that_have_figures() -> None:
    names = ("a|b", "two\nlines", "no object has it")
    a, old = changed(evaluation(0.4), "data", "names", names), evaluation(0.4)
    assert alike(a, old)
    assert alike(a, changed(a, "data", "names", ("A|B", "Two lines", "No object has it")))  # but for case and blanks
    accents = (changed(a, "data", "names", (name,)) for name in ("caf\u00e9", "cafe\u0301"))
    assert alike(*accents)
    turned = changed(a, "data", "names", names[::-1])
    (difference,) = unlike((a, turned))
    assert str(difference) == "class names 3 (a|b) against 3 (no object has it)"
    (fewer,) = unlike((a, changed(a, "data", "names", names[:2])))
    assert str(fewer) == "class names 3 (no object has it) against 2 (none at 2)"
    other = old.metrics.classes[0], replace(old.metrics.classes[1], name="other")
    (difference,) = unlike((a, changed(old, "metrics", "classes", other)))
    assert str(difference) == "class names 2 (1: two\nlines) against 2 (1: other)"
    nameless = changed(old, "metrics", "classes", ())
    assert [str(each) for each in unlike((nameless, nameless))] == ["class names unknown against unknown"]


def absent(name: str, ap: float | None, ground_truth: str) -> str:
    return absence(changed(evaluation(ap), "data", "ground_truth", ground_truth), name)


@pytest.mark.parametrize(
    ("name", "ap", "ground_truth", "reason"),
    [
        ("AP", None, "labels", "is undefined: there are no objects in the split"),
        ("APs", None, "labels", "is undefined: there are no objects in the split"),
        ("APs", 0.4, "labels", "is undefined: there are no small objects in the split"),
        ("ARm", 0.4, "i.json", "is undefined: there are no medium objects in the split"),
        ("APl", 0.4, "labels", "is undefined: there are no large objects in the split"),
        ("P", None, "labels", "is undefined: there are no objects in the split"),
        ("R", None, "i.json", "is undefined: there are no objects in the split"),
        ("mAP50", 0.4, "i.json", "was not measured: there are no objects in the label files"),
    ],
)
def test_why_a_figure_is_absent(name: str, ap: float | None, ground_truth: str, reason: str) -> None:
    assert absent(name, ap, ground_truth) == reason


def test_crowds_alone_give_no_figure() -> None:
    crowds = changed(evaluation(None), "data", "crowds", 3)
    assert absence(crowds, "AP50") == "is undefined: there are no objects but crowd regions in the split"
    (verdict,) = verdicts(["after.AP < 20"], None, crowds, None)
    assert (verdict.value, verdict.failed) == (None, True)
    assert verdict.reason == f"AP {absence(crowds, 'AP')}"


def nothing_found() -> Evaluation:
    known = evaluation(0.0)
    zeros = {key: None if value is None else 0.0 for key, value in vars(known.metrics.coco).items()}
    classes = tuple(replace(entry, P=0.0, R=0.0, AP50=0.0, AP50_95=0.0) for entry in known.metrics.classes)
    metrics = replace(
        known.metrics,
        coco=replace(known.metrics.coco, **zeros),
        detection=DetectionMetrics(0, 0, 0, 0),
        classes=classes,
    )
    return replace(known, metrics=metrics)


@pytest.mark.parametrize(
    "gate", ["AP < -0.5", "kept.AP < 95", "AP50 <= -1", "mAP50-95 < 0", "P < -1", "worst_class < -9", "after.AP > 90"]
)
def test_two_models_that_find_nothing_pass_no_gate(gate: str) -> None:
    (verdict,) = verdicts([gate], nothing_found(), nothing_found(), None)
    assert (verdict.value, verdict.failed) == (None, True)
    assert "finds anything" in verdict.reason or "finds nothing" in verdict.reason


def test_a_share_of_nothing_is_undefined_and_says_so() -> None:
    gates = ["kept.AP < 95", "AP < -0.5", "kept.APs < 95"]
    kept, change, small = verdicts(gates, nothing_found(), evaluation(0.4), None)
    assert (kept.value, kept.reason) == (None, "the share of AP kept is undefined: it is 0 before")
    assert (change.value, change.failed) == (40.0, False)
    assert small.reason == "APs is undefined: there are no small objects in the split"


@pytest.mark.parametrize(("first", "expected"), [(True, "the first"), (False, "the second")])
def test_a_model_that_was_not_evaluated_passes_no_gate(first: bool, expected: str) -> None:
    known = evaluation(0.4)
    a, b = (None, known) if first else (known, None)
    for verdict in verdicts(GATES, a, b, None):
        assert (verdict.failed, verdict.reason) == (True, f"{expected} of the two was not evaluated")
    (size,) = verdicts(["size > 60"], a, b, None)
    assert (size.failed, size.reason) == (True, "the size is not known")


def test_classes_are_known_by_their_index() -> None:
    a, b = evaluation(0.4), evaluation(0.4, -0.1)
    named = changed(a, "data", "names", ("a|b", "two lines"))
    spelled = tuple(replace(entry, name=entry.name.upper()) for entry in b.metrics.classes)
    other = changed(changed(b, "metrics", "classes", spelled), "data", "names", ("A|B", "two lines"))
    (verdict,) = verdicts(["worst_class < -9"], named, other, None)
    assert (verdict.value, verdict.failed) == (-10.0, True)
    fewer = changed(other, "metrics", "classes", spelled[1:])  # the one that lost is missing
    (verdict,) = verdicts(["worst_class < -9"], named, fewer, None)
    assert verdict.reason == "the two do not have figures of the same classes"
