"""A small network in which signals live in every layer, and pictures for it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from compressor.models.detector import Detector
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.zeros import prune
from compressor.modifiers.state import Context, State
from compressor.plan.layers import Layer, convolutions
from compressor.plan.outline import Resolved
from compressor.plan.targets import Spot
from compressor.recipe.modifiers import Prune
from compressor.recipe.modifiers.step import Step
from compressor.recipe.nodes import Place
from trials.tiny import NAMES, tiny_model

CPU = torch.device("cpu")
M = TypeVar("M", bound=Step)


@cache
def pictures(count: int = 8, size: int = 64, seed: int = 0) -> Tensor:
    """(count, 3, size, size) in [0, 1]: smooth patches of colour under a little noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    noise = torch.rand(count, 3, size, size, generator=generator)
    return 0.8 * interpolate(coarse, (size, size), mode="bilinear") + 0.2 * noise


def grouped_model() -> Detector:
    """A model whose `model.1.conv` has two channel groups, as an architecture of one's own may."""
    stock = tiny_model().spec
    grouped = replace(stock.backbone[1], args=(*stock.backbone[1].args, 1, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # else the weights depend on the tests that ran before
        built = build(replace(stock, backbone=(stock.backbone[0], grouped, *stock.backbone[2:])), NAMES)
    return _enlivened(built)


@cache
def _live() -> Detector:
    return _enlivened(tiny_model())


def _enlivened(model: Detector) -> Detector:
    """Given BatchNorm of both signs, and the statistics of the pictures."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean
            module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
            module.weight[::3] *= -1
            module.bias.copy_(torch.rand(module.bias.shape, generator=generator) - 0.3)
    model.train()
    model(pictures())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.03
    return model.eval()


def live_model(*, fused: bool = False) -> Detector:
    """A model of one's own."""
    model = copy.deepcopy(_live())
    return fuse(model) if fused else model


@dataclass(frozen=True, eq=False)
class Subject:
    """A compressed model beside the dense one."""

    model: Detector
    dense: Detector
    groups: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """As a step finds them."""
        return State(self.model, self.model, self.dense, dict(self.groups))


class Nowhere:
    """Of steps that stand in no file."""

    def place(self, *location: str | int) -> Place:
        """Their keys."""
        return Place(".".join(map(str, location)))

    key_place = place


def step_on(modifier: M, layers: Iterable[Layer]) -> Resolved[M]:
    """A step on just these layers."""
    return Resolved(modifier, Spot(Nowhere(), 0), tuple(layer.convolution for layer in layers))


def with_images(images: Tensor) -> Context:
    """What steps are given beside the state: always these images."""
    return Context(lambda _: images, CPU)


def pruned(*, fused: bool = False, sparsity: float = 0.5, pattern: str | None = None) -> tuple[Subject, list[Layer]]:
    """A dense model with a copy pruned by magnitude, uniformly or to a pattern without the stem, and all its layers."""
    dense = live_model(fused=fused)
    model = copy.deepcopy(dense)
    layers = convolutions(model)
    if pattern is None:
        modifier, chosen = Prune(type="prune", allocation="uniform", sparsity=sparsity), layers
    else:
        modifier, chosen = Prune(type="prune", pattern=pattern), layers[1:]
    prune(chosen, modifier)
    groups = {layer.name: modifier.n_of_m[1] for layer in chosen} if modifier.n_of_m else {}
    return Subject(model, dense, groups), list(layers)


def inputs_and_outputs(model: Detector, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What every convolution is given and gives before BatchNorm, in the order in which they run."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, conv: nn.Conv2d) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            found[name] = inputs[0].clone(), output.clone()

        return conv.register_forward_hook(hook)

    handles = [watch(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    model(images)
    for handle in handles:
        handle.remove()
    return found


def hooks_left(model: nn.Module) -> int:
    """Forward hooks that somebody forgot."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
