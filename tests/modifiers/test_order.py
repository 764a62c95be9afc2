from pathlib import Path

from compressor.errors import PlanError
from compressor.modifiers import apply_modifier
from compressor.modifiers.order import check_every_step_matters
from compressor.plan.layers import Layer, convolutions
from compressor.recipe.load import load_recipe
from compressor.recipe.schema import Prune
from tests.tiny import tiny_model


def needless(folder: Path, layers: tuple[Layer, ...], *steps: Prune) -> list[tuple[str, int | None]]:
    path = folder / "r.yaml"
    lines = "".join("  - {type: prune, allocation: lamp, sparsity: 0.3}\n" for _ in steps)
    path.write_text(f"version: 1\nmodifiers:\n{lines}")
    touched = [(tuple(x for x in layers if "*" in step.targets or x.role in step.targets), step) for step in steps]
    before = [layer.weight.clone() for layer in layers]
    try:
        check_every_step_matters(touched, load_recipe(path))
    except PlanError as error:
        return [(fault.code, fault.line) for fault in error.diagnostics]
    finally:
        assert all((layer.weight == old).all() for layer, old in zip(layers, before, strict=True))
    return []


def step(sparsity: float, targets: tuple[str, ...] = ("*",), allocation: str = "uniform") -> Prune:
    keys = {"type": "prune", "sparsity": sparsity, "targets": targets, "allocation": allocation}
    return Prune.model_validate(keys)


def test_steps_that_each_do_something_pass(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    assert needless(tmp_path, layers, step(0.3)) == []
    assert needless(tmp_path, layers, step(0.3, ("backbone",)), step(0.5, ("neck",))) == []
    assert needless(tmp_path, layers, step(0.3), step(0.5, ("backbone",))) == []
    assert needless(tmp_path, layers, step(0.7, ("backbone",)), step(0.5, allocation="global")) == []


def test_a_step_that_takes_what_is_gone_is_refused(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    assert needless(tmp_path, layers, step(0.5), step(0.3, ("backbone",))) == [("P205", 4)]
    assert needless(tmp_path, layers, step(0.5), step(0.5)) == [("P205", 4)]
    assert needless(tmp_path, layers, step(0.5), step(0.4), step(0.2)) == [("P205", 4), ("P205", 5)]


def test_a_step_that_a_later_one_swallows_is_refused(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    assert needless(tmp_path, layers, step(0.2, ("neck",)), step(0.3)) == [("P205", 3)]


def test_pruning_what_is_pruned_already_is_refused(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    apply_modifier(layers, step(0.4))
    assert needless(tmp_path, layers, step(0.4)) == [("P205", 3)]
    assert needless(tmp_path, layers, step(0.3, ("neck",))) == [("P205", 3)]
    assert needless(tmp_path, layers, step(0.41)) == []
    pattern = Prune(type="prune", pattern="2:4", targets=("backbone",))
    assert needless(tmp_path, layers, pattern) == []
    apply_modifier(tuple(layer for layer in layers if layer.role == "backbone"), pattern)
    assert needless(tmp_path, layers, pattern) == [("P205", 3)]
