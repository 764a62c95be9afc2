import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.activations import input_norms
from compressor.modifiers.prune.scores import magnitude, random, scaled_magnitude, score, wanda
from compressor.modifiers.prune.zeros import Evidence, prune
from compressor.plan.layers import Layer, convolutions
from compressor.recipe.modifiers import Prune
from compressor.results.sensitivity import LayerLosses, SensitivityTable
from tests.modifiers.networks import CPU, live_model, pictures

SCORES = ("magnitude", "raw_magnitude", "folded_magnitude", "wanda", "random")
ALLOCATIONS = ("uniform", "global", "lamp", "erk", "sensitivity")


@cache
def norms() -> dict[str, Tensor]:
    return input_norms(live_model(), pictures(), CPU)


def table(layers: tuple[Layer, ...]) -> SensitivityTable:
    """Early layers are the more sensitive ones."""
    losses = (
        LayerLosses(layer.name, layer.role, layer.weight.numel(), ((0.3, 1 / (i + 1)), (0.6, 4 / (i + 1))))
        for i, layer in enumerate(layers)
    )
    return SensitivityTable("w", "0" * 64, "never", "magnitude", "output", False, "d", 8, 320, "train", tuple(losses))


def modifier(**keys: Any) -> Prune:
    wanted = {"table": "t.json"} if keys.get("allocation") == "sensitivity" else {}
    return Prune.model_validate({"type": "prune", **wanted, **keys})


def test_raw_and_folded_magnitudes_are_those_of_the_other_form() -> None:
    raw = live_model()
    folded = fuse(live_model())
    for here, there in zip(convolutions(raw), convolutions(folded, raw), strict=True):
        np.testing.assert_allclose(scaled_magnitude(there, folded=False), magnitude(here.weight), rtol=1e-6)
        np.testing.assert_allclose(scaled_magnitude(here, folded=True), magnitude(there.weight), rtol=1e-6)
        np.testing.assert_array_equal(scaled_magnitude(here, folded=False), magnitude(here.weight))
        np.testing.assert_array_equal(scaled_magnitude(there, folded=True), magnitude(there.weight))
        assert (here.scale is None) == (here.role == "detect")
        assert here.scale is None or not np.allclose(magnitude(there.weight), magnitude(here.weight), rtol=0.01)


def test_each_form_of_magnitude_goes_by_its_name() -> None:
    layer = convolutions(live_model())[3]
    raw, folded = (score(layer, modifier(score=f"{form}_magnitude", pattern="2:4"), {}) for form in ("raw", "folded"))
    np.testing.assert_array_equal(raw, scaled_magnitude(layer, folded=False))
    np.testing.assert_array_equal(folded, scaled_magnitude(layer, folded=True))


def test_a_filter_that_batchnorm_multiplies_by_zero_scores_zero_once_it_is_folded() -> None:
    raw = live_model()
    bn = raw.model[0].bn
    assert isinstance(bn, nn.BatchNorm2d)
    bn.weight[2] = 0.0
    here = convolutions(raw)[0]
    there = convolutions(fuse(raw), live_model())[0]
    there = Layer(there.convolution, there.weight, here.scale, folded=True)
    for scores in (scaled_magnitude(here, folded=True), scaled_magnitude(there, folded=False)):
        assert (scores.reshape(8, -1) == 0).all(axis=1).tolist() == [i == 2 for i in range(8)]


def test_a_checkpoint_that_came_folded_has_no_other_magnitude() -> None:
    for layer in convolutions(live_model(fused=True)):
        assert layer.scale is None
        np.testing.assert_array_equal(scaled_magnitude(layer, folded=True), magnitude(layer.weight))


def test_wanda_is_weight_times_input_norm() -> None:
    weight, norm = torch.randn(3, 4, 2, 2), torch.rand(4)
    found = wanda(weight, norm).reshape(weight.shape)
    for o, i, y, x in itertools.product(range(3), range(4), range(2), range(2)):
        assert found[o, i, y, x] == pytest.approx(abs(weight[o, i, y, x].item()) * norm[i].item(), rel=1e-6)


def test_wanda_knows_which_inputs_a_channel_group_meets() -> None:
    weight, norm = torch.randn(6, 2, 3, 3), torch.rand(4)
    found = wanda(weight, norm).reshape(weight.shape)
    np.testing.assert_allclose(found[:3], weight[:3].abs() * norm[:2].view(1, 2, 1, 1), rtol=1e-6)
    np.testing.assert_allclose(found[3:], weight[3:].abs() * norm[2:].view(1, 2, 1, 1), rtol=1e-6)


def test_chance_depends_on_seed_and_name_and_nothing_else() -> None:
    assert (random(50, 3, "a") == random(50, 3, "a")).all()
    assert (random(50, 3, "a") != random(50, 4, "a")).any()
    assert (random(50, 3, "a") != random(50, 3, "b")).any()
    layers = convolutions(live_model())
    chance = modifier(score="random", seed=5, pattern="2:4")
    others = live_model()
    convolutions(others)[7].weight.zero_()
    assert (score(layers[9], chance, {}) == score(convolutions(others)[9], chance, {})).all()
    assert np.corrcoef(random(5000, 0, "a"), np.arange(5000))[0, 1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("how", SCORES)
@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_zeros_go_first_under_every_score(how: str, allocation: str) -> None:
    """They stand last, and wanda finds inputs that are never other than zero before them."""
    layers = convolutions(live_model())[1:]
    for layer in layers:
        layer.weight.view(-1)[layer.weight.numel() // 2 :] = 0.0
    before = [layer.weight.clone() for layer in layers]
    dead_first = {layer.name: (torch.arange(layer.weight.shape[1]) > 0).float() for layer in layers}
    asked = modifier(score=how, allocation=allocation, sparsity=0.3)
    change = prune(layers, asked, Evidence(dead_first, table(layers)))
    if allocation in ("uniform", "global"):  # which take no more of any layer than it has zeros
        assert all(torch.equal(layer.weight, old) for layer, old in zip(layers, before, strict=True))
    for layer, counted in zip(layers, change.layers, strict=True):
        assert layer.zeros == max(counted.zeros_before, counted.pruned)


@pytest.mark.parametrize("how", SCORES)
@pytest.mark.parametrize("form", ["raw", "folded"])
def test_every_pattern_score_and_allocation_prunes_exactly_its_count(how: str, form: str) -> None:
    raw = live_model()
    source = fuse(live_model()) if form == "folded" else raw
    dense = [layer.weight.clone() for layer in convolutions(source)]
    layers = convolutions(source, raw)[1:]
    evidence = Evidence(norms(), table(layers))
    sizes = [layer.weight.numel() for layer in layers]
    for allocation in ALLOCATIONS:
        change = prune(layers, modifier(score=how, allocation=allocation, sparsity=0.37), evidence)
        exact = sum(round(0.37 * n) for n in sizes) if allocation == "uniform" else round(0.37 * sum(sizes))
        assert change.pruned == exact == sum(layer.zeros for layer in layers), allocation
        restore(layers, dense)
    for n, m in ((2, 4), (1, 4), (3, 5)):
        prune(layers, modifier(score=how, pattern=f"{n}:{m}"), evidence)
        assert all(of_pattern(layer.weight, n, m) for layer in layers), (n, m)
        restore(layers, dense)


def restore(layers: tuple[Layer, ...], dense: list[Tensor]) -> None:
    for layer, old in zip(layers, dense[1:], strict=True):
        layer.weight.copy_(old)


def of_pattern(weight: Tensor, n: int, m: int) -> bool:
    groups = [weight[:, start : start + m] != 0 for start in range(0, weight.shape[1], m)]
    return all(bool((group.sum(dim=1) == min(n, group.shape[1])).all()) for group in groups)


def test_scores_choose_differently() -> None:
    raw = live_model()
    choices = {}
    for how in SCORES:
        model = fuse(live_model())
        layers = convolutions(model, raw)
        prune(layers, modifier(score=how, allocation="uniform", sparsity=0.5), Evidence(norms()))
        choices[how] = torch.cat([layer.weight.view(-1) == 0 for layer in layers])
    assert torch.equal(choices.pop("magnitude"), choices["folded_magnitude"])
    for one, other in itertools.combinations(choices.values(), 2):
        assert not torch.equal(one, other)
