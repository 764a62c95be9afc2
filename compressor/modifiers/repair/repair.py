"""The `repair` modifier: what pruning took from a layer's outputs is given back by the weights that are left."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from compressor.data.calibration import random_crops
from compressor.errors import Diagnostic, RunError
from compressor.models.batchnorm import batchnorm_behind
from compressor.models.detector import Detector
from compressor.modifiers.activations import on_device
from compressor.modifiers.repair.distill import crop_size, distill
from compressor.modifiers.repair.least_squares import moments, solve
from compressor.modifiers.repair.lockstep import Meeting, objectness, side_by_side
from compressor.modifiers.repair.obs import choose
from compressor.modifiers.repair.words import described, title, unit
from compressor.modifiers.state import Context, Parts, Reports, State
from compressor.modifiers.state_file import put_tensors, tensors_of
from compressor.plan.layers import Layer
from compressor.plan.outline import Resolved
from compressor.progress import Update
from compressor.recipe.modifiers import Repair
from compressor.results.changes import Change, LayerChange, Retrained

POSITIONS = 65_536  # of a layer's outputs that its weights are solved for, over all images
_LEAST_SPREAD = 0.05  # of the dense outputs' standard deviation
_CHUNK = 8  # images at a time where nothing else decides it
_GENERATOR = "state of the generator"


def repair(step: Resolved[Repair], state: State, context: Context) -> Change:
    """Bring the outputs of a step's layers back towards the dense model's, in place; no zero is lost or added.

    Args:
        step: says how, on which layers, and by which images.
        state: with the dense model.
        context: the images, the device to compute on, and who receives every layer or step done.

    Raises:
        RunError: E803 a layer lost or gained zeros, or a weight is not finite.
    """
    modifier, layers = step.modifier, state.layers(step)
    assert state.dense is not None  # a repair compares
    before = {layer.name: layer.weight == 0 for layer in layers}
    images = context.images(modifier.calibration).to(context.device)
    twin = replace(state, model=on_device(state.model, context.device), dense=on_device(state.dense, context.device))
    with context.progress.bar(title(modifier), unit(modifier)) as update:
        _change_weights(step, twin, images, context.parts, update)
    _bring_back(twin.model, state.model)
    fixed = modifier.method != "obs"
    changes = tuple(_change(layer, before[layer.name], fixed=fixed) for layer in layers)
    state.settled |= {layer.name: layer.weight == 0 for layer in layers}
    return _described(modifier, layers, len(images), changes)


def _change_weights(step: Resolved[Repair], twin: State, images: Tensor, parts: Parts, update: Update) -> None:
    modifier, names = step.modifier, step.names
    assert twin.dense is not None
    match modifier.method:
        case "distill":
            distill(twin.dense, twin.model, names, images, modifier, Reports(update, parts))
        case "batchnorm":
            measure_batchnorm(twin.model, names, images, update)
        case "bias" | "moments" | "least_squares" | "obs":
            _layer_by_layer(names, modifier, twin, images, Reports(update, parts))
        case _:
            assert_never(modifier.method)


def predicted(layers: tuple[Layer, ...], modifier: Repair) -> Change:
    """What `repair` would count: as many zeros as there are."""
    changes = tuple(_change(layer, layer.weight == 0, fixed=True) for layer in layers)
    return _described(modifier, layers, modifier.calibration.images, changes)


def _described(modifier: Repair, layers: tuple[Layer, ...], images: int, changes: tuple[LayerChange, ...]) -> Change:
    effects = tuple(Retrained(each.name, each.weights - each.zeros_after) for each in changes)
    summary = described(modifier, len(layers), images)
    return Change("repair", summary, changes, effects, alters=tuple(sorted(modifier.alters)))


def _bring_back(source: Detector, model: Detector) -> None:
    """Copy what was computed elsewhere into the model itself, whose tensors the layers share."""
    if source is not model:
        for name, tensor in model.state_dict().items():
            tensor.copy_(source.state_dict()[name])


def _layer_by_layer(
    names: frozenset[str],
    modifier: Repair,
    twin: State,
    images: Tensor,
    reports: Reports,
) -> None:
    dense = twin.dense
    assert dense is not None
    generator = torch.Generator().manual_seed(modifier.calibration.seed)
    solves = modifier.method in ("least_squares", "obs")
    seen = None
    if solves:
        assert modifier.crops is not None  # the schema fills it in
        count = len(images) * modifier.crops
        images = next(random_crops(images, crop_size(modifier, twin.model), count, generator))
        seen = objectness(dense, images)

    done = _resumed(twin.model, generator, reports.parts.find())

    def meet(meeting: Meeting) -> None:
        if meeting.name not in names or meeting.name in done:
            return
        repair_one(meeting)
        done.append(meeting.name)
        if reports.parts.due:
            reports.parts.keep(_part(twin.model, generator, done))

    def repair_one(meeting: Meeting) -> None:
        if seen is not None:
            if meeting.differs:  # else there is nothing to make up for
                settled = twin.settled.get(meeting.name)
                if settled is not None:
                    meeting = replace(meeting, dense=meeting.dense.masked_fill(settled.to(meeting.dense.device), 0.0))
                solve_layer(meeting, modifier, twin.groups.get(meeting.name), seen, generator)
            return
        if modifier.method == "moments":
            match_spread(meeting)
        meeting.shift((meeting.wanted - meeting.outputs()).mean(dim=(0, 2, 3)))

    side_by_side(dense, twin.model, images, meet, reports.update)


def _part(model: Detector, generator: torch.Generator, done: list[str]) -> dict[str, bytes]:
    """What is repaired so far: the model, the generator's state, and the layers that are done."""
    tensors = {**tensors_of(model), _GENERATOR: generator.get_state()}
    return {"part.safetensors": save(tensors), "done.json": json.dumps(done).encode()}


def _resumed(model: Detector, generator: torch.Generator, part: dict[str, bytes] | None) -> list[str]:
    """The layers that an interrupted repair had done; the model and the generator are as it left them."""
    if part is None:
        return []
    tensors = load(part["part.safetensors"])
    generator.set_state(tensors.pop(_GENERATOR))
    put_tensors(model, tensors)
    done: list[str] = json.loads(part["done.json"])
    return done


def match_spread(meeting: Meeting) -> None:
    """Scale every filter so that its outputs spread as in the dense model; channel-wise standard deviations.

    A filter whose outputs hardly vary is left alone.
    """
    ours, theirs = (values.std(dim=(0, 2, 3), correction=0) for values in (meeting.outputs(), meeting.wanted))
    varies = (ours > _LEAST_SPREAD * theirs) & (theirs > 0)
    meeting.conv.weight *= torch.where(varies, theirs / ours.where(varies, 1.0), 1.0).view(-1, 1, 1, 1)


def solve_layer(
    meeting: Meeting,
    modifier: Repair,
    group: int | None,
    seen: Tensor,
    generator: torch.Generator,
) -> None:
    """Solve the kept weights of one layer again; by `obs` choose them first.

    Args:
        meeting: the layer, what it sees and should give.
        modifier: by `least_squares` or `obs`.
        group: within how many neighbouring input channels zeros may move, None where anywhere in a filter.
        seen: (N, h, w), see `lockstep.objectness`.
        generator: of the CPU; decides at which positions.
    """
    conv, damping = meeting.conv, modifier.damping
    assert damping is not None  # the schema fills it in
    start, keep = _with_bias(conv), conv.weight != 0
    if modifier.method == "obs":
        start[:, :-1] = meeting.dense.flatten(1)
    solved = torch.empty_like(start)
    for filters, channels in _channel_groups(conv):
        inputs, wanted = meeting.inputs[:, channels], meeting.wanted[:, filters]
        found = moments(conv, inputs, wanted, seen, POSITIONS, generator)
        if modifier.method == "obs":
            keep[filters] = choose(found, start[filters], keep[filters], group, damping)
            start[filters, :-1] *= keep[filters].flatten(1)
        free = torch.cat((keep[filters].flatten(1), torch.ones_like(keep[filters, :1, 0, 0])), dim=1)
        solved[filters] = solve(found, start[filters], free, damping)
    weight = solved[:, :-1].reshape(conv.weight.shape).to(conv.weight.dtype)
    lost = keep & (weight == 0)  # a weight that is solved to nothing is kept as small as it can be
    conv.weight.copy_(weight.where(~lost, torch.finfo(weight.dtype).tiny))
    meeting.shift((solved - start)[:, -1].to(conv.weight.dtype))


def _channel_groups(conv: nn.Conv2d) -> Iterator[tuple[slice, slice]]:
    """The filters of every channel group, and the input channels that they see; mostly there is one group."""
    c_out, c_in = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    for group in range(conv.groups):
        yield slice(group * c_out, (group + 1) * c_out), slice(group * c_in, (group + 1) * c_in)


def _with_bias(conv: nn.Conv2d) -> Tensor:
    """(C_out, K + 1) float64: each filter, then its bias, which is zero before a BatchNorm."""
    weight = conv.weight.detach().flatten(1).double()
    bias = torch.zeros_like(weight[:, 0]) if conv.bias is None else conv.bias.detach().double()
    return torch.cat((weight, bias[:, None]), dim=1)


def measure_batchnorm(model: Detector, names: frozenset[str], images: Tensor, update: Update) -> None:
    """Measure the running statistics of some layers' BatchNorm again, as the mean over all batches, in place.

    Args:
        model: in evaluation mode, and so afterwards.
        names: the convolutions whose BatchNorm is meant.
        images: (N, 3, H, W) in [0, 1].
        update: told of every image.

    Raises:
        RunError: E813 there is too little to measure.
    """
    if len(images) == 1 and images.shape[2] <= max(model.strides):
        message = "one image that gives a single value per channel has no variance to measure"
        help_text = "give more calibration images, or a larger image_size"
        raise RunError(Diagnostic("E813", message, help=help_text))
    modules = dict(model.named_modules())
    following = [modules.get(batchnorm_behind(name)) for name in sorted(names)]
    chosen = [module for module in following if isinstance(module, nn.BatchNorm2d)]
    momenta = [module.momentum for module in chosen]
    for module in chosen:
        module.reset_running_stats()
        module.momentum = None  # a plain mean
        module.train()
    done = 0
    with torch.inference_mode():
        for batch in images.tensor_split(math.ceil(len(images) / _CHUNK)):  # of like size, as each counts alike
            model(batch)
            done += len(batch)
            update(done, len(images))
    for module, momentum in zip(chosen, momenta, strict=True):
        module.momentum = momentum
        module.eval()


def _change(layer: Layer, zeros: Tensor, *, fixed: bool) -> LayerChange:
    """What became of one layer; `fixed` where every zero has to be where it was.

    Raises:
        RunError: E803.
    """
    found = layer.weight == 0
    same = torch.equal(found, zeros) if fixed else int(found.sum()) == int(zeros.sum())
    if not same or not bool(torch.isfinite(layer.weight).all()):
        message = f"{layer.name} has other zeros, or is not finite, after the repair"
        raise RunError(Diagnostic("E803", message, help="this is a fault of compressor; please report it"))
    return LayerChange(
        name=layer.name,
        role=layer.role,
        shape=tuple(layer.weight.shape),
        weights=layer.weight.numel(),
        pruned=0,
        zeros_before=int(zeros.sum()),
        zeros_after=layer.zeros,
    )
