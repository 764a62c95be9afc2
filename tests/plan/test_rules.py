"""The examples that `compressor explain` gives for what does not fit a model, on a model."""

from pathlib import Path

import pytest

from compressor.artifact.load import load_model
from compressor.artifact.save import Form, Provenance, encode_model
from compressor.errors import PlanError
from compressor.plan.layers import convolutions
from compressor.progress import Silent
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.overrides import Override, parse_set
from compressor.results.sensitivity import LayerLosses, SensitivityTable, table_text
from compressor.rules.catalogue import Rule, rules
from compressor.run.pipeline import plan
from compressor.run.readiness import Options
from trials.tiny import tiny_model, tiny_weights

RULES = [rule for rule in rules() if rule.code.startswith("P")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the sensitivity table of the network that the examples are about, and that of another one."""
    network = tiny_weights(tmp_path)
    layers = convolutions(load_model(network).model)
    write_table(tmp_path / "this.sensitivity.json", {layer.name: layer.weight.numel() for layer in layers})
    write_table(tmp_path / "another.sensitivity.json", {layer.name: 2 * layer.weight.numel() for layer in layers})
    folded = encode_model(tiny_model(fused=True), Form("float32", "dense"), Provenance({}, "tiny", "0" * 64))
    (tmp_path / "folded.safetensors").write_bytes(folded)
    return tmp_path


def write_table(path: Path, weights: dict[str, int]) -> None:
    layers = tuple(LayerLosses(name, "backbone", count, ((0.5, 0.1),)) for name, count in weights.items())
    table = SensitivityTable(
        "best.pt", "0" * 64, "before", "magnitude", "output", False, "images", 4, 320, "train", layers
    )
    path.write_text(table_text(table), encoding="utf-8")


def example(folder: Path, text: str | None, weights: str) -> RecipeFile:
    assert text is not None
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    given = Override(("model", "weights"), str(folder / weights), "--weights", literal=True)
    return load_recipe(path, (given, parse_set("evaluation.image_size=64")))  # on which times alone depend


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_wrong_example_is_refused_by_its_rule_and_right_one_plans(rule: Rule, folder: Path) -> None:
    weights = "folded.safetensors" if rule.code == "P209" else "tiny.safetensors"
    with pytest.raises(PlanError) as caught:
        plan(example(folder, rule.wrong, weights), Options(folder / "run", "cpu"), Silent())
    assert {fault.code for fault in caught.value.diagnostics} == {rule.code}
    assert plan(example(folder, rule.right, weights), Options(folder / "run", "cpu"), Silent()).steps
