import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compressor.models.detector import Detector
from compressor.models.losses import LossSettings
from compressor.models.yolov5.architecture import Generation, stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.detect import head_of
from compressor.models.yolov5.loss import detection_loss
from compressor.training.optimiser import (
    Ema,
    OptimiserSettings,
    Schedule,
    build_optimiser,
    optimiser_step,
)
from trials.seeded import fill


def tiny(generation: Generation = "v6") -> Detector:
    stock = stock_architecture(generation, "s", nc=3)
    return build(replace(stock, width_multiple=0.0625))


def optimiser_of(model: Detector, expected: Any) -> torch.optim.Optimizer:
    settings = OptimiserSettings(
        lr0=expected["lr"], momentum=expected["momentum"], weight_decay=expected["weight_decay"]
    )
    return build_optimiser(model, settings, batch_size=64)


@pytest.mark.parametrize("name", ["v5", "v6_order_v60", "v6_order_v70"])
def test_three_steps_equal_upstream(golden: Path, name: str) -> None:
    """In float64, which no processor rounds otherwise.

    Upstream recorded float32 runs, and BatchNorm over maps of 2 x 2 amplifies their rounding: the bounds follow their
    measured distance from the exact run (first step 1.7e-5, its gradient norm 8.2e-5; third step 3.8e-3 and 3.3e-2).
    """
    expected = json.loads((golden / "train_step.json").read_text())[name]
    model = fill(tiny("v5" if name == "v5" else "v6")).train().double()
    optimiser, ema = optimiser_of(model, expected), Ema(model)
    targets, settings = torch.tensor(expected["targets"]), LossSettings(**expected["hyp"])
    for step, numbers in enumerate(expected["steps"]):
        close, norm_close, sum_close = [(2e-5, 1e-4, 1e-7), (1e-3, 1e-2, 1e-7), (5e-3, 5e-2, 3e-6)][step]
        images = np.random.RandomState(100 + step).random_sample((2, 3, 64, 64)).astype(np.float32)
        raw = model(torch.from_numpy(images).double())
        loss = detection_loss(raw, targets, head_of(model).anchors, settings)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = optimiser_step(model, optimiser, expected["clip"])
        ema.update(model)
        assert loss.total.item() == pytest.approx(numbers["loss"], rel=close)
        assert [loss.box.item(), loss.obj.item(), loss.cls.item()] == pytest.approx(numbers["items"], rel=close)
        assert norm.item() == pytest.approx(numbers["grad_norm"], rel=norm_close)
        assert [level.abs().sum().item() for level in raw] == pytest.approx(
            [theirs["abs"] for theirs in numbers["raw"]], rel=close
        )
        state = model.state_dict()
        ours = {key: state[key].double().abs().sum().item() for key in numbers["state"]}
        assert ours == pytest.approx({key: theirs["abs"] for key, theirs in numbers["state"].items()}, rel=close)
        assert parameter_sum(model) == pytest.approx(numbers["all_params_abs"], rel=sum_close)
        assert parameter_sum(ema.model) == pytest.approx(numbers["ema_params_abs"], rel=sum_close)


def parameter_sum(model: Detector) -> float:
    return sum(parameter.detach().double().abs().sum().item() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["v5", "v6_order_v60", "v6_order_v70"])
def test_groups_hold_what_upstream_puts_in_them(golden: Path, name: str) -> None:
    expected = json.loads((golden / "train_step.json").read_text())[name]
    groups = optimiser_of(tiny("v5" if name == "v5" else "v6"), expected).param_groups
    ours = [(len(g["params"]), g["weight_decay"], sum(p.numel() for p in g["params"])) for g in groups]
    theirs = [(g["n"], g["weight_decay"], g["elements"]) for g in expected["groups"]]
    # Releases before v6.2 list BatchNorm first; the order of the groups moves no number.
    assert ours == (theirs if name.endswith("v70") else [theirs[2], theirs[1], theirs[0]])


def test_weight_decay_follows_the_images_per_step() -> None:
    decays = [
        build_optimiser(tiny(), OptimiserSettings(weight_decay=0.001), batch_size).param_groups[1]["weight_decay"]
        for batch_size in (16, 64, 128)
    ]
    assert decays == pytest.approx([0.001, 0.001, 0.002])


def test_learning_rate_falls_along_a_line_or_a_cosine() -> None:
    line, cosine = OptimiserSettings(lrf=0.1), OptimiserSettings(lrf=0.2, cosine=True)
    assert [line.factor(epoch, 100) for epoch in (0, 50, 100)] == pytest.approx([1.0, 0.55, 0.1])
    assert [cosine.factor(epoch, 100) for epoch in (0, 50, 100)] == pytest.approx([1.0, 0.6, 0.2])


def test_warm_up_raises_rates_momentum_and_images_per_step() -> None:
    settings = OptimiserSettings(lr0=0.02, lrf=0.5, warmup_epochs=3.0)
    schedule = Schedule(settings, epochs=10, batches=50, batch_size=16)
    optimiser = build_optimiser(tiny(), settings, batch_size=16)
    assert schedule.warmup == 150
    assert [schedule.accumulate(iteration) for iteration in (0, 75, 150, 400)] == [1, 2, 4, 4]
    schedule.apply(optimiser, 0)
    assert [group["lr"] for group in optimiser.param_groups] == [0.1, 0.0, 0.0]
    assert {group["momentum"] for group in optimiser.param_groups} == {0.8}
    schedule.apply(optimiser, 75)  # half way, in the second epoch, whose rate is 0.02 * 0.95
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.0595, 0.0095, 0.0095])
    schedule.apply(optimiser, 250)  # the sixth epoch
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.015] * 3)
    assert optimiser.param_groups[0]["momentum"] == pytest.approx(0.937)


def test_a_short_training_warms_up_over_100_batches() -> None:
    assert Schedule(OptimiserSettings(), epochs=5, batches=4, batch_size=16).warmup == 100


def test_ema_follows_the_published_decay_and_leaves_counters_alone() -> None:
    model = tiny()
    ema = Ema(model)
    before = copy.deepcopy(ema.model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    model.train()(torch.rand(2, 3, 64, 64))
    ema.update(model)
    d = 0.9999 * (1 - math.exp(-1 / 2000))
    for key, value in ema.model.state_dict().items():
        now = model.state_dict()[key]
        expected = d * before[key] + (1 - d) * now if value.is_floating_point() else before[key]
        assert torch.allclose(value, expected, rtol=1e-5, atol=1e-7), key
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())


def test_a_step_clips_the_gradient_and_drops_it() -> None:
    model = tiny()
    optimiser = build_optimiser(model, OptimiserSettings(lr0=1.0, momentum=0.5, weight_decay=0.0), batch_size=64)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    norm = optimiser_step(model, optimiser, clip_norm=2.0)
    moved = [(old - new.detach()).norm() for old, new in zip(before, model.parameters(), strict=True)]
    assert norm.item() == pytest.approx(math.sqrt(sum(p.numel() for p in before)))
    assert torch.stack(moved).norm().item() == pytest.approx(2.0 * 1.5, rel=1e-3)  # Nesterov's first step: 1 + momentum
    assert all(parameter.grad is None for parameter in model.parameters())
