"""The examples that `compressor explain` gives for what does not fit a model, on a model."""

from pathlib import Path

import pytest

from compressor.errors import PlanError
from compressor.pipeline import plan
from compressor.progress import Silent
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.overrides import Override
from compressor.rules.catalogue import Rule, rules

RULES = [rule for rule in rules() if rule.code.startswith("P")]


def example(folder: Path, text: str | None) -> RecipeFile:
    assert text is not None
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    weights = Override(("model", "weights"), "yolov5_shapes.safetensors", "--weights", literal=True)
    return load_recipe(path, (weights,))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_wrong_example_is_refused_by_its_rule_and_right_one_plans(rule: Rule, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        plan(example(tmp_path, rule.wrong), "cpu", Silent())
    assert {fault.code for fault in caught.value.diagnostics} == {rule.code}
    assert plan(example(tmp_path, rule.right), "cpu", Silent()).steps
