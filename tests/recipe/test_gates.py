from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.recipe.gates import METRICS, OTHERS, parse_gate
from compressor.results.gates import verdicts
from tests.report.made_up import evaluation, full_record

NONE = ["", "AP", "AP <", "AP < x", "AP == 3", "AP < 3 4", "AP < nan", "best.AP < 3", "ap < 3"]
FORMS = [*METRICS, *OTHERS, *(f"{form}.{name}" for form in ("after", "kept") for name in METRICS)]


@given(st.sampled_from(FORMS), st.sampled_from(["<", "<=", ">", ">="]), st.integers(-999, 999), st.booleans())
def test_every_quantity_with_every_sign_is_a_gate(quantity: str, sign: str, bound: int, spaced: bool) -> None:
    text = f" {quantity}  {sign} {bound} " if spaced else f"{quantity}{sign}{bound}"
    gate = parse_gate(text)
    assert (gate.quantity, gate.sign, gate.bound) == (quantity, sign, bound)
    assert gate.holds(bound) == (sign in ("<=", ">="))
    assert gate.holds(bound - 1) == sign.startswith("<")


@pytest.mark.parametrize("text", NONE)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a metric|known are|did you mean"):
        parse_gate(text)


@pytest.mark.parametrize(
    ("gate", "value", "failed"),
    [
        ("AP < -9.9", -10.0, True),
        ("AP < -10.1", -10.0, False),
        ("kept.AP < 75.1", 75.0, True),
        ("after.AP50 >= 50", 50.0, True),
        ("mAP50-95 < 0", 0.0, False),
        ("worst_class < -10.5", -11.0, True),
        ("size > 77", 77.78, True),
        ("APs < -99", None, True),  # undefined: nothing was proved
    ],
)
def test_verdicts_are_those_of_the_figures(gate: str, value: float | None, failed: bool) -> None:
    run = full_record()
    (verdict,) = verdicts([gate], run.baseline, run.compressed, 0.7778)
    assert verdict.value == (None if value is None else pytest.approx(value))
    assert verdict.failed == failed


def test_classes_of_one_name_are_kept_apart() -> None:
    before, after = evaluation(0.4), evaluation(0.4, -0.1)
    twins = tuple(replace(entry, name="x") for entry in before.metrics.classes)
    worse = tuple(replace(entry, name="x") for entry in after.metrics.classes)
    a = replace(before, metrics=replace(before.metrics, classes=twins))
    b = replace(after, metrics=replace(after.metrics, classes=worse))
    (verdict,) = verdicts(["worst_class < -9"], a, b, None)
    assert (verdict.value, verdict.failed) == (-10.0, True)


def test_a_change_of_just_the_bound_is_that() -> None:
    before, after = evaluation(0.3), evaluation(0.275)
    assert [each.failed for each in verdicts(["AP <= -2.5", "AP < -2.5"], before, after, None)] == [True, False]


def test_without_figures_no_gate_passes() -> None:
    assert [each.failed for each in verdicts(["AP < -5", "size > 1"], None, None, None)] == [True, True]
    (after,) = verdicts(["after.AP < 30"], None, evaluation(0.4), None)
    assert after.value == pytest.approx(40)
    assert not after.failed
