"""Pruning beside torch.nn.utils.prune and the textbook's LAMP; see `speed.py`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from side_by_side import Comparison, Work, compare
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.allocation import erdos_renyi_kernel
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.recipe.modifiers import Prune

SPARSITY = 0.3
Allocation = Literal["global", "lamp", "uniform", "erk"]
Answer = list[tuple[int, float]]  # zeros of each layer, and the sum of what is left


def pruning(options: argparse.Namespace) -> list[Comparison]:
    name = f"YOLOv5{options.size}, {SPARSITY:.0%}, "
    peers: tuple[tuple[Allocation, str, Callable[[str], Work]], ...] = (
        ("global", "torch global_unstructured", by_torch_globally),
        ("uniform", "torch l1_unstructured", by_torch_in_each_layer),
        ("erk", "torch l1_unstructured", by_torch_as_erk),
        ("lamp", "torch sort, cumsum, topk", by_textbook_lamp),
    )
    size, runs = options.size, options.runs
    return [
        compare(name + how, (peer, partial(make, size)), partial(ours, size, how), same, runs=runs)
        for how, peer, make in peers
    ]


def network(size: str) -> tuple[Detector, list[Tensor]]:
    torch.manual_seed(0)
    model = fuse(build(stock_architecture("v6", size)).eval().requires_grad_(False))
    return model, [layer.weight.clone() for layer in convolutions(model)]


def restore(model: Detector, saved: list[Tensor]) -> None:
    for layer, weight in zip(convolutions(model), saved, strict=True):
        layer.weight.copy_(weight)


def answer(weights: list[Tensor]) -> Answer:
    return [(int((weight == 0).sum()), float(weight.abs().double().sum())) for weight in weights]


def ours(size: str, allocation: Allocation) -> Work:
    model, saved = network(size)
    step = Prune(type="prune", allocation=allocation, sparsity=SPARSITY)

    def run() -> None:
        prune(convolutions(model), step)

    return Work(run, lambda: restore(model, saved), lambda _: answer([layer.weight for layer in convolutions(model)]))


def by_torch(size: str, how: Callable[[list[nn.Module]], None]) -> Work:
    model, saved = network(size)
    modules: list[nn.Module] = [module for module in model.modules() if isinstance(module, nn.Conv2d)]

    def prepare() -> None:
        for module, weight in zip(modules, saved, strict=True):
            if torch_prune.is_pruned(module):
                torch_prune.remove(module, "weight")  # type: ignore[no-untyped-call]
            module.weight = nn.Parameter(weight.clone(), requires_grad=False)

    return Work(lambda: how(modules), prepare, lambda _: answer([module.weight for module in modules]))  # type: ignore[misc]


def by_torch_globally(size: str) -> Work:
    def how(modules: list[nn.Module]) -> None:
        parameters = [(module, "weight") for module in modules]
        torch_prune.global_unstructured(parameters, pruning_method=torch_prune.L1Unstructured, amount=SPARSITY)

    return by_torch(size, how)


def by_torch_in_each_layer(size: str) -> Work:
    def how(modules: list[nn.Module]) -> None:
        for module in modules:
            torch_prune.l1_unstructured(module, "weight", amount=SPARSITY)  # type: ignore[no-untyped-call]

    return by_torch(size, how)


def by_torch_as_erk(size: str) -> Work:
    def how(modules: list[nn.Module]) -> None:
        counts = erdos_renyi_kernel([tuple(module.weight.shape) for module in modules], SPARSITY)  # type: ignore[arg-type]
        for module, count in zip(modules, counts, strict=True):
            torch_prune.l1_unstructured(module, "weight", amount=count)  # type: ignore[no-untyped-call]

    return by_torch(size, how)


def by_textbook_lamp(size: str) -> Work:
    """Scores of every weight from its layer's sorted squares, then the lowest of all (arXiv:2010.07611)."""

    def how(modules: list[nn.Module]) -> None:
        scores = [_lamp(module.weight) for module in modules]  # type: ignore[arg-type]
        everything = torch.cat(scores)
        dropped = torch.zeros(len(everything), dtype=torch.bool)
        dropped[everything.topk(round(SPARSITY * len(everything)), largest=False).indices] = True
        for module, gone in zip(modules, torch.split(dropped, [len(each) for each in scores]), strict=True):
            module.weight.masked_fill_(gone.view(module.weight.shape), 0.0)  # type: ignore[operator, arg-type]

    return by_torch(size, how)


def _lamp(weight: Tensor) -> Tensor:
    squares, order = weight.flatten().double().square().sort()
    scores = squares / squares.flip(0).cumsum(0).flip(0)
    return torch.empty_like(scores).scatter_(0, order, scores)


def same(theirs: Answer, mine: Answer) -> str:
    """Zeros of every layer are equal, and so is what is left, but for which of equal weights went."""
    assert [zeros for zeros, _ in theirs] == [zeros for zeros, _ in mine], "other numbers of zeros"
    for (_, one), (_, other) in zip(theirs, mine, strict=True):
        assert math.isclose(one, other, rel_tol=1e-12), "other weights"
    return "same weights"
