"""What can be done to a model: one file per modifier, chosen by the one match below."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from compressor.evaluation.out_of_memory import enough_memory
from compressor.models.detector import Detector
from compressor.modifiers.activations import input_norms
from compressor.modifiers.prune import zeros
from compressor.modifiers.redundant import Step, Tables
from compressor.modifiers.repair import repair as repairs
from compressor.modifiers.repair.repair import Subject, foreseen, title
from compressor.plan.layers import Layer, convolutions
from compressor.progress import Progress
from compressor.recipe.modifiers import Calibration, Modifier, Prune, Repair
from compressor.results.network import Change

PRUNE_STEP = "prune"  # in the account of where the time went
Images = Callable[[Calibration], Tensor]  # (N, 3, H, W) in [0, 1]


@dataclass(frozen=True, eq=False)
class Materials:
    """What the modifiers of one run work with beside their layers.

    Attributes:
        model: as the modifiers find and leave it; every step's layers are its own.
        images: gives the calibration images that a modifier asks for.
        tables: those that modifiers name.
        device: where repairs compute; the model itself stays where it is.
    """

    model: Detector
    images: Images
    tables: Tables
    device: torch.device


def apply_steps(steps: Sequence[Step], materials: Materials, progress: Progress) -> tuple[Change, ...]:
    """Carry out every step in order, on the model itself.

    Raises:
        DatasetError: the images that a step asks for cannot be had.
        RunError: see `prune` and `repair`.
    """
    compares = any(isinstance(modifier, Repair) for _, modifier in steps)
    dense = copy.deepcopy(materials.model) if compares else None
    changes: list[Change] = []
    settled: dict[str, Tensor] = {}  # what is zero in each layer after its last repair
    for index, (layers, modifier) in enumerate(steps):
        match modifier:
            case Prune():
                change = _prune(layers, modifier, materials, progress)
                told = f"{change.summary}: {change.pruned:,} of {change.weights:,} weights"
            case Repair():
                assert dense is not None
                subject = Subject(materials.model, dense, pattern_groups(steps[:index]), settled)
                change = _repair(layers, modifier, subject, materials, progress)
                settled |= {layer.name: layer.weight == 0 for layer in layers}
                told = change.summary
            case _:
                assert_never(modifier)
        progress.note(told)
        changes.append(change)
    return tuple(changes)


def step_titles(modifiers: Sequence[Modifier]) -> tuple[str, ...]:
    """What modifiers are called in the account of where the time went."""
    return tuple(PRUNE_STEP if isinstance(each, Prune) else title(each) for each in modifiers)


def foresee_steps(steps: Sequence[Step], materials: Materials, progress: Progress) -> tuple[Change, ...]:
    """What `apply_steps` would count: every prune is done to the model, every repair only told.

    A prune after a repair is done to the weights as they are without it: its total is right, its choice a guess.

    Raises:
        DatasetError: the images that a prune asks for cannot be had.
    """
    changes = []
    for layers, modifier in steps:
        match modifier:
            case Prune():
                changes.append(_prune(layers, modifier, materials, progress))
            case Repair():
                changes.append(foreseen(layers, modifier))
            case _:
                assert_never(modifier)
    return tuple(changes)


def pattern_groups(steps: Sequence[Step]) -> Mapping[str, int]:
    """Within how many neighbouring input channels a layer's zeros may move without breaking a pattern it was pruned to.

    M of its N:M pattern; of several their greatest common divisor, whose groups lie within those of all. Layers without
    a pattern are left out.
    """
    found: dict[str, int] = {}
    for layers, step in steps:
        pattern = step.n_of_m if isinstance(step, Prune) else None
        if pattern is not None:
            found |= {layer.name: math.gcd(found.get(layer.name, 0), pattern[1]) for layer in layers}
    return found


def _memory() -> AbstractContextManager[None]:
    """What runs a network on calibration images: E812 says how to do with less memory."""
    message = "there is too little memory for the calibration images"
    help_text = "give fewer or smaller ones (calibration.images, calibration.image_size, crops, crop)"
    return enough_memory(message, help_text)


def _prune(layers: tuple[Layer, ...], modifier: Prune, materials: Materials, progress: Progress) -> Change:
    with progress.step(PRUNE_STEP):
        norms = {}
        if modifier.calibration is not None:
            with _memory():
                norms = input_norms(materials.model, materials.images(modifier.calibration), materials.device)
        table = None if modifier.table is None else materials.tables[modifier.table]
        return zeros.prune(_as_they_are(layers, materials.model), modifier, zeros.Evidence(norms, table))


def _as_they_are(layers: tuple[Layer, ...], model: Detector) -> tuple[Layer, ...]:
    """The layers, with the scale that a BatchNorm has by now where it is kept: a repair may have changed it."""
    if model.fused:
        return layers
    found = {layer.name: layer for layer in convolutions(model)}
    return tuple(found[layer.name] for layer in layers)


def _repair(
    layers: tuple[Layer, ...], modifier: Repair, subject: Subject, materials: Materials, progress: Progress
) -> Change:
    with _memory():
        images = materials.images(modifier.calibration)
        return repairs.repair(layers, modifier, subject, images, materials.device, progress)
