from pathlib import Path

import pytest

from compressor.errors import Diagnostic, PlanError
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.redundant import check_every_prune_matters
from compressor.modifiers.prune.zeros import prune
from compressor.modifiers.steps import resolve
from compressor.plan.layers import Layer, convolutions, outlined
from compressor.plan.outline import NO_TABLES, Resolved, Tables
from compressor.plan.targets import Spot
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers import Prune
from compressor.results.sensitivity import LayerLosses, SensitivityTable
from tests.modifiers.networks import live_model
from trials.tiny import tiny_model


def needless(folder: Path, layers: tuple[Layer, ...], *steps: Prune) -> list[tuple[str, int | None]]:
    path = folder / "r.yaml"
    lines = "".join("  - {type: prune, allocation: lamp, sparsity: 0.3}\n" for _ in steps)
    path.write_text(f"version: 1\nmodifiers:\n{lines}")
    recipe_file = load_recipe(path)
    touched = [
        Resolved(
            each, Spot(recipe_file, index), tuple(x.convolution for x in layers if {"*", x.role} & {*each.targets})
        )
        for index, each in enumerate(steps)
    ]
    before = [layer.weight.clone() for layer in layers]
    try:
        check_every_prune_matters(tuple(touched), layers)
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
    prune(layers, step(0.4))
    assert needless(tmp_path, layers, step(0.4)) == [("P205", 3)]
    assert needless(tmp_path, layers, step(0.3, ("neck",))) == [("P205", 3)]
    assert needless(tmp_path, layers, step(0.41)) == []
    pattern = Prune(type="prune", pattern="2:4", targets=("backbone",))
    assert needless(tmp_path, layers, pattern) == []
    prune(tuple(layer for layer in layers if layer.role == "backbone"), pattern)
    assert needless(tmp_path, layers, pattern) == [("P205", 3)]


def refused(
    folder: Path, layers: tuple[Layer, ...], *steps: str, tables: Tables = NO_TABLES
) -> list[tuple[str, int | None]]:
    """Codes and lines of what is wrong with the steps, the first of which stands on line 3; nothing is changed."""
    return [(fault.code, fault.line) for fault in faults(folder, layers, *steps, tables=tables)]


def faults(folder: Path, layers: tuple[Layer, ...], *steps: str, tables: Tables = NO_TABLES) -> tuple[Diagnostic, ...]:
    path = folder / "r.yaml"
    path.write_text("version: 1\nmodifiers:\n" + "".join(f"  - {{type: {each}}}\n" for each in steps))
    recipe_file = load_recipe(path)
    before = [layer.weight.clone() for layer in layers]
    try:
        found = resolve(recipe_file.recipe.modifiers, outlined(layers, tables), recipe_file)
        check_every_prune_matters(found, layers)
    except PlanError as error:
        return error.diagnostics
    finally:
        assert all((layer.weight == old).all() for layer, old in zip(layers, before, strict=True))
    assert [step.modifier for step in found] == list(recipe_file.recipe.modifiers)
    return ()


def of(sparsity: float, *more: str) -> str:
    return ", ".join(("prune", "allocation: uniform", f"sparsity: {sparsity}", *more))


REPAIR = "repair, method: bias"
NECK = "targets: [neck]"


def test_a_repair_needs_a_prune_before_it(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    assert refused(tmp_path, layers, REPAIR) == [("P205", 3)]
    assert refused(tmp_path, layers, REPAIR, of(0.5), REPAIR) == [("P205", 3)]
    assert refused(tmp_path, layers, of(0.5), REPAIR, REPAIR) == []
    prune(layers, step(0.5))  # nothing tells what was there before
    assert refused(tmp_path, layers, REPAIR) == [("P205", 3)]


def test_prunes_around_a_repair_each_have_to_matter(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    assert refused(tmp_path, layers, of(0.3), REPAIR, of(0.5)) == []
    assert refused(tmp_path, layers, of(0.3), REPAIR, of(0.5), REPAIR, of(0.7)) == []
    assert refused(tmp_path, layers, of(0.5), REPAIR, of(0.3)) == [("P205", 5)]
    assert refused(tmp_path, layers, of(0.5), REPAIR, of(0.5)) == [("P205", 5)]
    assert refused(tmp_path, layers, of(0.5), REPAIR, of(0.3, NECK)) == [("P205", 5)]
    assert refused(tmp_path, layers, of(0.5, NECK), REPAIR, of(0.3)) == []
    assert refused(tmp_path, layers, of(0.3), of(0.2), REPAIR, of(0.5), of(0.5)) == [("P205", 4), ("P205", 7)]
    assert refused(tmp_path, layers, of(0.3), of(0.5)) == [("P205", 3)]


def test_a_swallowed_prune_matters_where_a_repair_stands_between(tmp_path: Path) -> None:
    """The repair then mends a milder loss."""
    layers = convolutions(tiny_model())
    assert refused(tmp_path, layers, of(0.2, NECK), REPAIR, of(0.3)) == []
    assert refused(tmp_path, layers, of(0.2, NECK), of(0.3), REPAIR) == [("P205", 3)]


def test_steps_of_other_scores_are_weighed_too(tmp_path: Path) -> None:
    layers = convolutions(fuse(live_model()), live_model())
    chance, unfolded = "score: random", "score: raw_magnitude"
    assert refused(tmp_path, layers, of(0.5, chance), of(0.3)) == [("P205", 4)]
    assert refused(tmp_path, layers, of(0.3, chance), of(0.5, chance)) == [("P205", 3)]
    assert refused(tmp_path, layers, of(0.3, chance), of(0.5, chance, "seed: 7")) == []
    assert refused(tmp_path, layers, of(0.3, unfolded), of(0.5, unfolded)) == [("P205", 3)]
    assert refused(tmp_path, layers, of(0.3, unfolded), of(0.5)) == []


def test_steps_that_only_a_run_can_tell_are_let_pass(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    wanda = "score: wanda"
    assert refused(tmp_path, layers, of(0.3, wanda), of(0.5)) == []
    assert refused(tmp_path, layers, of(0.5), of(0.3, wanda)) == []
    assert refused(tmp_path, layers, of(0.5, wanda), REPAIR, of(0.3)) == []
    assert refused(tmp_path, layers, "prune, allocation: lamp, sparsity: {size: 60%}", of(0.5, NECK)) == []
    prune(layers, step(0.5))
    assert refused(tmp_path, layers, of(0.6, wanda), of(0.3)) == [("P205", 4)]


@pytest.mark.parametrize("came_folded", [False, True])
def test_batchnorm_that_is_folded_cannot_be_measured(tmp_path: Path, came_folded: bool) -> None:
    raw = tiny_model()
    measure = "repair, method: batchnorm"
    assert refused(tmp_path, convolutions(raw), of(0.5), measure) == []
    folded = convolutions(tiny_model(fused=True)) if came_folded else convolutions(fuse(tiny_model()), raw)
    assert refused(tmp_path, folded, of(0.5), measure) == [("P208", 4)]
    assert refused(tmp_path, folded, of(0.5), REPAIR) == []
    assert refused(tmp_path, convolutions(raw), of(0.5), f"{measure}, targets: [detect]") == [("P208", 4)]


def test_raw_weights_of_a_checkpoint_that_came_folded_are_not_known(tmp_path: Path) -> None:
    came_folded, raw = convolutions(tiny_model(fused=True)), tiny_model()
    unfolded = of(0.5, "score: raw_magnitude")
    assert refused(tmp_path, came_folded, unfolded) == [("P209", 3)]
    assert refused(tmp_path, came_folded, of(0.5), of(0.6, "score: raw_magnitude", NECK)) == [("P209", 4)]
    assert refused(tmp_path, came_folded, of(0.5, "score: raw_magnitude", "targets: [detect]")) == []
    assert refused(tmp_path, came_folded, of(0.5, "score: folded_magnitude")) == []
    assert refused(tmp_path, convolutions(raw), unfolded) == []
    assert refused(tmp_path, convolutions(fuse(tiny_model()), raw), unfolded) == []


def table(layers: tuple[Layer, ...], spare: int = 0) -> SensitivityTable:
    losses = tuple(LayerLosses(x.name, x.role, x.weight.numel() + spare, ((0.5, 1.0),)) for x in layers)
    return SensitivityTable("w", "0", "before", "magnitude", "output", False, "d", 1, 320, "train", losses)


def test_a_table_of_another_network_is_refused(tmp_path: Path) -> None:
    layers = convolutions(tiny_model())
    steps = ("prune, allocation: sensitivity, table: t.json, sparsity: 0.5, targets: [neck]", REPAIR)
    neck = tuple(layer for layer in layers if layer.role == "neck")
    assert refused(tmp_path, layers, *steps, tables={"t.json": table(layers)}) == []
    assert refused(tmp_path, layers, *steps, tables={"t.json": table(neck)}) == []
    assert refused(tmp_path, layers, *steps, tables={"t.json": table(neck[1:])}) == [("P210", 3)]
    (fault,) = faults(tmp_path, layers, *steps, tables={"t.json": table(layers, 1)})
    assert fault.code == "P210" and neck[0].name in fault.message and "t.json" in fault.message
    assert fault.column == 51
