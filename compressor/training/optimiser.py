"""Parameter groups, learning-rate schedule, warm-up, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor.models.detector import Detector


@dataclass(frozen=True)
class OptimiserSettings:
    """How the weights are moved; the defaults are upstream's `hyp.scratch-low` and release v7.0.

    Attributes:
        algorithm: Nesterov SGD, or AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101).
        lr0: learning rate at the first epoch, once warm.
        lrf: learning rate at the end, as a fraction of lr0.
        cosine: fall along half a cosine instead of a line.
        momentum: of SGD, and AdamW's first beta.
        weight_decay: L2 penalty of convolution weights at the nominal batch size.
        warmup_epochs: epochs over which rates and momentum rise.
        warmup_iterations: batches the warm-up takes at least.
        warmup_momentum: SGD's momentum at the first batch.
        warmup_bias_lr: learning rate of the biases at the first batch; all others start from 0.
        nominal_batch_size: images per optimiser step; smaller batches add up their gradients.
        clip_norm: largest norm of the whole gradient.
    """

    algorithm: Literal["sgd", "adamw"] = "sgd"
    lr0: float = 0.01
    lrf: float = 0.01
    cosine: bool = False
    momentum: float = 0.937
    weight_decay: float = 0.0005
    warmup_epochs: float = 3.0
    warmup_iterations: int = 100
    warmup_momentum: float = 0.8
    warmup_bias_lr: float = 0.1
    nominal_batch_size: int = 64
    clip_norm: float = 10.0

    def accumulate(self, batch_size: int) -> int:
        """Batches per optimiser step."""
        return max(round(self.nominal_batch_size / batch_size), 1)

    def factor(self, epoch: int, epochs: int) -> float:
        """Learning rate of an epoch, counted from 0, as a fraction of lr0."""
        if self.cosine:
            return (1 - math.cos(math.pi * epoch / epochs)) / 2 * (self.lrf - 1) + 1
        return (1 - epoch / epochs) * (1 - self.lrf) + self.lrf


def build_optimiser(model: Detector, settings: OptimiserSettings, batch_size: int) -> Optimizer:
    """The optimiser over three groups named `biases`, `weights` and `bn_weights`; only `weights` decay."""
    biases, weights, bn_weights = parameter_groups(model)
    decay = settings.weight_decay * batch_size * settings.accumulate(batch_size) / settings.nominal_batch_size
    groups = [
        {"params": biases, "weight_decay": 0.0, "name": "biases"},
        {"params": weights, "weight_decay": decay, "name": "weights"},
        {"params": bn_weights, "weight_decay": 0.0, "name": "bn_weights"},
    ]
    match settings.algorithm:
        case "sgd":
            return torch.optim.SGD(groups, lr=settings.lr0, momentum=settings.momentum, nesterov=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=settings.lr0, betas=(settings.momentum, 0.999))
        case _:
            assert_never(settings.algorithm)


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """All biases, the weights of everything but BatchNorm, and BatchNorm's weights."""
    biases, weights, bn_weights = [], [], []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                biases.append(parameter)
            elif isinstance(module, nn.BatchNorm2d):
                bn_weights.append(parameter)
            else:
                weights.append(parameter)
    return biases, weights, bn_weights


@dataclass(frozen=True)
class Schedule:
    """Learning rates, momentum and batches per step over one training.

    Attributes:
        settings: what to follow.
        epochs: epochs in all.
        batches: batches per epoch.
        batch_size: images per batch.
    """

    settings: OptimiserSettings
    epochs: int
    batches: int
    batch_size: int

    @property
    def warmup(self) -> int:
        """Batches the warm-up takes."""
        return max(round(self.settings.warmup_epochs * self.batches), self.settings.warmup_iterations)

    def accumulate(self, iteration: int) -> int:
        """Batches per optimiser step at this batch of the whole training: from 1 up during the warm-up."""
        share = min(iteration / self.warmup, 1.0)
        return max(round(1 + share * (self.settings.nominal_batch_size / self.batch_size - 1)), 1)

    def apply(self, optimiser: Optimizer, iteration: int) -> None:
        """Set the rates, and SGD's momentum, for this batch of the whole training."""
        settings, share = self.settings, min(iteration / self.warmup, 1.0)
        rate = settings.lr0 * settings.factor(iteration // self.batches, self.epochs)
        for group in optimiser.param_groups:
            start = settings.warmup_bias_lr if group["name"] == "biases" else 0.0
            group["lr"] = start + share * (rate - start)
            if "momentum" in group:
                group["momentum"] = settings.warmup_momentum + share * (settings.momentum - settings.warmup_momentum)


def optimiser_step(model: Detector, optimiser: Optimizer, clip_norm: float) -> Tensor:
    """Clip the gradient, take one step and drop the gradient; returns the gradient's norm before clipping."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=clip_norm)
    optimiser.step()
    optimiser.zero_grad()
    return norm


class Ema:
    """Exponential moving average of all weights and BatchNorm statistics.

    After update n: average = d average + (1 - d) model, with d = decay (1 - exp(-n / tau)).

    Attributes:
        model: the average, in evaluation mode.
        updates: updates so far.
    """

    def __init__(self, model: Detector, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.updates = 0
        self._decay = decay
        self._tau = tau

    @torch.no_grad()
    def update(self, model: Detector) -> None:
        """Take in the model's present state."""
        self.updates += 1
        d = self._decay * (1 - math.exp(-self.updates / self._tau))
        current = model.state_dict()
        for key, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.mul_(d).add_(current[key], alpha=1 - d)
