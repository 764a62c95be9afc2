import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compressor.models.detector import Detector
from compressor.models.yolov5.blocks import C3, SPPF
from compressor.models.yolov5.difference import head_loss
from compressor.modifiers.prune.zeros import prune
from compressor.modifiers.repair.distill import distill, feature_loss, schedule
from compressor.modifiers.state import NoParts, Reports
from compressor.plan.layers import Layer, convolutions
from compressor.recipe.modifiers import Prune, Repair
from tests.modifiers.networks import Subject, grouped_model, hooks_left, pictures, pruned

FORMS = pytest.mark.parametrize("fused", [False, True], ids=["batchnorm", "folded"])


def train(subject: Subject, layers: list[Layer], **keys: Any) -> list[int]:
    """Few steps; what it told of them."""
    told: list[int] = []
    settings = {"steps": 4, "batch_size": 4, "crop": 64, **keys}
    modifier = Repair.model_validate({"type": "repair", "method": "distill", **settings})
    names = frozenset(layer.name for layer in layers)
    reports = Reports(lambda done, _total: told.append(done), NoParts())
    distill(subject.dense, subject.model, names, pictures(), modifier, reports)
    return told


def features(model: Detector, images: Tensor) -> tuple[dict[int, Tensor], list[Tensor]]:
    found: dict[int, Tensor] = {}

    def keep(index: int) -> Any:
        return lambda _module, _inputs, output: found.__setitem__(index, output)

    stages = [(i, module) for i, module in enumerate(model.model) if isinstance(module, C3 | SPPF)]
    handles = [module.register_forward_hook(keep(i)) for i, module in stages]
    outputs = model(images)
    for handle in handles:
        handle.remove()
    return found, outputs


def loss(subject: Subject) -> float:
    (ours, outputs), (theirs, wanted) = (features(model, pictures()) for model in (subject.model, subject.dense))
    return float(feature_loss(ours, theirs) + head_loss(outputs, wanted))


@FORMS
def test_the_loss_goes_down_and_zeros_stay(fused: bool) -> None:
    subject, layers = pruned(fused=fused, sparsity=0.2)
    zeros = [layer.weight == 0 for layer in layers]
    before = loss(subject)
    told = train(subject, layers, steps=40, learning_rate=0.01)
    assert told == list(range(1, 41))
    assert loss(subject) < 0.6 * before
    assert all(torch.equal(layer.weight == 0, old) for layer, old in zip(layers, zeros, strict=True))


def test_channel_groups_are_trained_as_well() -> None:
    dense = grouped_model()
    model = copy.deepcopy(dense)
    layers = convolutions(model)
    prune(layers, Prune(type="prune", allocation="uniform", sparsity=0.2))
    subject, zeros = Subject(model, dense, {}), layers[1].weight == 0
    before = loss(subject)
    train(subject, [layers[1]], steps=40, learning_rate=0.01)
    assert layers[1].weight.shape == (8, 4, 3, 3) and torch.equal(layers[1].weight == 0, zeros)
    assert loss(subject) < before


@FORMS
def test_only_what_is_named_is_trained(fused: bool) -> None:
    subject, layers = pruned(fused=fused)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    train(subject, [layer for layer in layers if layer.name in ("model.3.conv", "model.24.m.1")])
    changed = {name for name, value in subject.model.state_dict().items() if not torch.equal(value, before[name])}
    shift = "model.3.conv.bias" if fused else "model.3.bn.bias"
    assert changed == {"model.3.conv.weight", shift, "model.24.m.1.weight", "model.24.m.1.bias"}


def test_nothing_is_left_behind() -> None:
    subject, layers = pruned()
    teacher = {name: value.clone() for name, value in subject.dense.state_dict().items()}
    train(subject, layers)
    for model in (subject.model, subject.dense):
        assert hooks_left(model) == 0
        assert not any(each.requires_grad or each.grad is not None for each in model.parameters())
        assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, teacher[name]) for name, value in subject.dense.state_dict().items())


def test_the_seed_decides_the_result() -> None:
    results = []
    for seed in (0, 0, 1):
        subject, layers = pruned(fused=True)
        train(subject, layers, calibration={"seed": seed})
        results.append(torch.cat([layer.weight.view(-1) for layer in layers]))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize("crop", [40, 32, 384])
def test_crops_of_any_size_fit_the_network(crop: int) -> None:
    subject, layers = pruned(fused=True)
    assert train(subject, layers[:3], steps=1, crop=crop) == [1]


def test_a_weight_that_is_trained_to_nothing_is_kept_all_but_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    class ToZero:
        def __init__(self, groups: list[dict[str, Any]]) -> None:
            self.param_groups = groups

        def zero_grad(self) -> None:
            pass

        def step(self) -> None:
            with torch.no_grad():
                for group in self.param_groups:
                    group["params"][0].zero_()

    monkeypatch.setattr(torch.optim, "Adam", ToZero)
    subject, layers = pruned(fused=True)
    zeros = [layer.weight == 0 for layer in layers]
    train(subject, layers, steps=1)
    assert all(torch.equal(layer.weight == 0, old) for layer, old in zip(layers, zeros, strict=True))


def test_gradients_of_zeros_do_not_move_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, layers = pruned(fused=True)
    seen: list[bool] = []
    step = torch.optim.Adam.step

    def watched(self: torch.optim.Adam) -> None:
        for group in self.param_groups:
            weight = group["params"][0]
            if weight.ndim == 4:
                seen.append(bool((weight.grad[weight == 0] == 0).all()) and bool((weight.grad != 0).any()))
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    train(subject, layers, steps=1)
    assert len(seen) == len(layers) and all(seen)


def test_equal_features_and_outputs_cost_nothing() -> None:
    subject, _ = pruned(fused=True)
    assert loss(Subject(copy.deepcopy(subject.dense), subject.dense, {})) == pytest.approx(0, abs=1e-6)
    assert loss(subject) > 0.1


def test_features_cost_their_squared_error_in_units_of_variance() -> None:
    theirs = {2: torch.randn(2, 3, 4, 4), 9: 100 * torch.randn(2, 3, 2, 2) + 50}
    ours = {index: values + values.std() * 0.5 for index, values in theirs.items()}
    assert float(feature_loss(ours, theirs)) == pytest.approx(0.25, rel=1e-4)
    ours[2] = theirs[2]
    assert float(feature_loss(ours, theirs)) == pytest.approx(0.125, rel=1e-4)


@pytest.mark.parametrize(("entry", "counts"), [(0, False), (3, False), (4, True), (5, False), (7, False)])
def test_boxes_and_classes_count_where_the_dense_model_sees_objects(entry: int, counts: bool) -> None:
    """Objectness counts everywhere."""
    wanted = torch.zeros(1, 1, 2, 2, 8)
    wanted[..., 4] = torch.tensor([[6.0, -9.0], [-9.0, -9.0]])
    costs = []
    for cell in (0, 1):
        found = wanted.clone()
        found[0, 0, 0, cell, entry] += 2.0
        costs.append(float(head_loss([found], [wanted])))
    assert costs[0] > 0.01
    assert (costs[1] > 0.01 * costs[0]) == counts
    assert float(head_loss([found, found], [wanted, wanted])) == pytest.approx(2 * costs[1], rel=1e-4)


def test_logits_on_either_side_cost() -> None:
    wanted = torch.randn(1, 3, 4, 4, 8)
    for by in (-0.5, 0.5):
        assert float(head_loss([wanted + by], [wanted])) > 0.01


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    rates = [schedule(step, 400) for step in range(400)]
    assert rates[0] == pytest.approx(1 / 20)
    assert rates.index(max(rates)) == 19 and 0.98 < max(rates) <= 1
    assert rates[200] == pytest.approx(0.5, abs=0.01) and 0 < rates[-1] < 1e-4
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_a_bias_of_zeros_stays() -> None:
    """Steps are shares of a parameter's size."""
    subject, layers = pruned(fused=True)
    conv = subject.model.model[3].conv
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    conv.bias.zero_()
    train(subject, layers)
    assert bool((conv.bias == 0).all())
