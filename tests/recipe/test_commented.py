"""Recipes written for people are read back as they were, whatever they hold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.recipe.commented import YOUR_DATA, comment, commented
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.modifiers.budget import Budget
from compressor.recipe.modifiers.step import Calibration
from compressor.recipe.schema import Model, Recipe

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")  # which no recipe can hold
TEXT = (st.text(LETTERS, min_size=1) | st.text("${}#:'\"\\ \n\t*&!%@`-a1.e", min_size=1)).filter(str.strip)
PATHS = st.sampled_from(
    [
        "yes",
        "1e-3",
        "null",
        "~",
        "2026-01-01",
        "0x1F",
        "a: b",
        "- a",
        "on",
        ".5",
        "=",
        "<<",
        " a ",
        "...",
        ".inf",
        "../a",
    ]
)


@given(text=TEXT | PATHS, sparsity=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_whatever_a_recipe_can_hold_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, sparsity: float
) -> None:
    prune = Prune(
        type="prune", allocation="erk", sparsity=sparsity, targets=("*", "re:[a-z]{2}"), ignore=("kernel: 1x1",)
    )
    recipe = Recipe(version=1, description=text, model=Model(weights=text), data=text, modifiers=(prune, prune))
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(commented(recipe, comment(text), {"data": text}), encoding="utf-8")
    assert load_recipe(file).recipe == recipe


STEPS: list[Prune | Repair] = [
    Prune.model_validate({"type": "prune", "allocation": "lamp", "sparsity": 0.5, "score": "raw_magnitude"}),
    Prune.model_validate({"type": "prune", "allocation": "erk", "sparsity": 0.3, "score": "wanda", "ignore": ["stem"]}),
    Prune.model_validate({"type": "prune", "allocation": "erk", "sparsity": 0.3, "score": "random"}),
    Prune.model_validate(
        {"type": "prune", "allocation": "sensitivity", "table": "a: b.json", "sparsity": {"ap_drop": 0.005}}
    ),
    Prune.model_validate({"type": "prune", "pattern": "2:4", "ignore": ["stem"]}),
    Repair(type="repair", calibration=Calibration(images=64)),
    Repair(type="repair", method="bias", calibration=Calibration(data="images/${x}", judged=True)),
    Repair(type="repair", method="distill", targets=("neck",)),
]


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4))
def test_every_key_of_every_step_has_a_comment_above_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Prune | Repair]
) -> None:
    asking = [step for step in steps if isinstance(step, Prune) and step.goal]
    recipe = Recipe(version=1, modifiers=(*(step for step in steps if step not in asking), *asking[:1]))
    text = commented(recipe, [], {})
    file = tmp_path_factory.getbasetemp() / "steps.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_recipe(file).recipe == recipe
    lines = text.partition("\nmodifiers:\n")[2].partition("\n\n")[0].splitlines()
    for above, line in pairwise(lines):
        if not line.lstrip().startswith(("#", "- type:")):
            assert above.lstrip().startswith("#"), line
    assert "null" not in text


def test_step_is_written_for_people() -> None:
    budget = Prune(type="prune", allocation="lamp", sparsity=Budget(ap_drop=0.005), ignore=("stem",))
    repair = Repair(type="repair", calibration=Calibration(images=64))
    text = commented(Recipe(version=1, modifiers=(budget, repair)), [], {"data": "Needed.", "ignore": "For a reason."})
    assert f"# Needed.\n# data: {YOUR_DATA}\n" in text
    assert text.count(YOUR_DATA) == text.count("For a reason.") == 1
    assert "    method: least_squares  # bias, moments, least_squares, obs, distill or batchnorm\n" in text
    assert "    # Which unlabelled images show what the layers are given.\n    calibration:\n" in text
    assert "\n      images: 64  # 1 to 100000\n" in text
    assert "\n      seed: 0  # at least 0 and below 4294967296\n" in text
    assert "\n      judged: false  # true or false\n" in text
    assert "\n    damping: 0.03  # above 0 and at most 10\n" in text
    assert "\n    crops: 2  # 1 to 1000\n" in text
    assert "    sparsity:\n      # the highest sparsity whose AP is at most this below the model's before" in text
    assert "\n      ap_drop: 0.005  # above 0 and below 1\n" in text
    assert [key for key in ("seed: null", "steps", "learning_rate", "table:", "size:") if f" {key}" in text] == []
