import sys
from pathlib import Path

import pytest

from compressor.recipe.load import read_draft
from compressor.tasks.check import stock_misfits


def codes(folder: Path, keys: str, head: str = "") -> list[str]:
    path = folder / "r.yaml"
    path.write_text(f"version: 1\n{head}\nmodifiers:\n  - {{type: prune, {keys}}}\n")
    return [f"{fault.code} {fault.line}" for fault in stock_misfits(read_draft(path))]


FINE = "allocation: erk, sparsity: 0.3"
FAULTY = "allocation: erk, sparsity: 30"


@pytest.mark.parametrize(
    ("keys", "head", "expected"),
    [
        (FINE, "", []),
        (f"{FINE}, targets: [Focus]", "", []),  # in one generation
        (f"{FINE}, targets: [Focus]", "model: {weights: yolov5s.pt}", ["P201 4"]),  # which is of the other one
        ('pattern: "2:4"', "model: {weights: yolov5s.pt}", ["P202 4"]),
        (f'{FINE}, targets: ["*"], ignore: [stem, backbone, neck, detect]', "model: {weights: mine.pt}", ["P203 4"]),
        (f'{FINE}, targets: ["re:(?:a?){{30}}(?:[a-z0-9.]+)+(?:[a-z0-9.]*)*!"]', "", ["P201 4"]),
        (f"{FINE}, targets: [model.33.m.3]", "", []),  # in the P6 models
        (f"{FINE}, targets: [model.33.m.3]", "model: {weights: yolov5s6.pt}", []),
        (f"{FINE}, targets: [model.33.m.3]", "model: {weights: a/yolov5s.pt}", ["P201 4"]),
        (f"{FINE}, targets: [model.40.m.3]", "", ["P201 4"]),
        (f"{FINE}, targets: [model.40.m.3]", "model: {weights: mine.pt}", []),  # whose layers nobody knows
        (f"{FINE}, targets: [model.40.m.3, necc]", "model: {weights: mine.pt}", ["P201 4"]),
        (f"{FINE}, targets: [backbon]", "", ["P201 4"]),
        (f"{FAULTY}, targets: [backbon]", "", ["P201 4"]),  # beside the fault of its own
        ("allocation: erk, sparsity: {necc: 50}", "", ["P201 4"]),
        ('pattern: "2:4"', "", []),  # the stem of generation v5 has 12 input channels
        ('pattern: "2:16"', "", ["P202 4"]),
        (f'{FAULTY}, targets: ["re:(", 3, detect]', "", []),  # told by the schema
    ],
)
def test_recipe_is_tried_on_the_networks_it_may_meet(tmp_path: Path, keys: str, head: str, expected: list[str]) -> None:
    assert codes(tmp_path, keys, head) == expected


def test_what_is_no_recipe_has_no_misfits(tmp_path: Path) -> None:
    for text in ("", "[1, 2]", "modifiers: 3", "modifiers: [3, {targets: 5, sparsity: [1]}]"):
        path = tmp_path / "r.yaml"
        path.write_text(text)
        assert stock_misfits(read_draft(path)) == []


def test_a_pattern_without_end_is_told_and_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = sys.modules["compressor.plan.targets"]
    monkeypatch.setattr(targets, "_LONGEST_MATCH_S", 1e-9)
    assert codes(tmp_path, f'{FINE}, targets: ["re:(.*.*.*.*.*.*.*)*[^a-z0-9]!"]') == ["R115 4"]
    assert codes(tmp_path, f'{FAULTY}, targets: ["re:(.*.*.*.*.*.*.*)*[^a-z0-9]!"]') == ["R115 4"]


def test_equal_modifiers_need_no_weights_to_be_told(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    step = f"  - {{type: prune, {FINE}}}\n"
    path.write_text(f"version: 1\nmodifiers:\n{step}  - {{type: prune, targets: [neck], {FINE}}}\n{step}")
    assert [(fault.code, fault.line) for fault in stock_misfits(read_draft(path))] == [("P205", 5)]


def faults_of(folder: Path, *steps: str) -> list[tuple[str, int | None]]:
    path = folder / "r.yaml"
    path.write_text("".join(["version: 1\nmodifiers:\n", *(f"  - {{{step}}}\n" for step in steps)]))
    return [(fault.code, fault.line) for fault in stock_misfits(read_draft(path))]


PRUNE = f"type: prune, {FINE}"
BIAS, OBS = "type: repair, method: bias", "type: repair, method: obs"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([PRUNE, BIAS], []),
        ([BIAS, PRUNE], [("P205", 3)]),
        ([BIAS, OBS, PRUNE, BIAS], [("P205", 3), ("P205", 4)]),
        (["type: prune", BIAS], []),  # at fault itself, and a prune
        (["type: prun", BIAS], []),  # which may be one
        ([FINE, BIAS], []),
        (["type: repair, method: bais", OBS], [("P205", 4)]),
        ([PRUNE, BIAS, BIAS], [("P205", 5)]),
        ([PRUNE, BIAS, BIAS, BIAS], [("P205", 5), ("P205", 6)]),
        ([PRUNE, BIAS, OBS, BIAS], []),
        ([PRUNE, BIAS, f"{PRUNE}, targets: [neck]", BIAS], []),
        ([PRUNE, BIAS, PRUNE], [("P205", 5)]),
        ([PRUNE, f"{BIAS}, targets: [bakbone]"], [("P201", 4)]),
        ([PRUNE, f"{BIAS}, targets: [neck], ignore: [detect]"], [("P207", 4)]),
    ],
)
def test_repairs_need_something_to_repair(tmp_path: Path, steps: list[str], expected: list[tuple[str, int]]) -> None:
    assert faults_of(tmp_path, *steps) == expected


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [
        ("{ap_drop: 0.005}", []),
        ("{size: 2.5MB}", []),
        ("{ap_drop: 5}", []),  # told by the schema; its keys are no targets
        ("{ap_drop: 0.005, neck: 0.3}", []),
        ("{sise: 2.5MB}", []),
        ("{nek: 0.3}", [("P201", 3)]),
    ],
)
def test_keys_of_a_budget_are_no_targets(tmp_path: Path, sparsity: str, expected: list[tuple[str, int]]) -> None:
    assert faults_of(tmp_path, f"type: prune, allocation: lamp, sparsity: {sparsity}") == expected
