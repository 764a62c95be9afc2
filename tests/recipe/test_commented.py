"""Recipes written for people are read back as they were, whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.recipe.commented import comment, commented
from compressor.recipe.load import load_recipe
from compressor.recipe.schema import Model, Prune, Recipe

TEXT = (st.text(min_size=1) | st.text("${}#:'\"\\ \n\t*&!%@`-a1.e", min_size=1)).filter(str.strip)
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
