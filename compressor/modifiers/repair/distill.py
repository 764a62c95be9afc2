"""Gradient descent on the weights that are kept, towards the dense model's features and outputs; no labels are used.

Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531) from the dense model to its own pruned copy: the mean
squared error of the feature maps after each stage, each in units of its variance, and the head's logits: boxes by
squared error where the dense model sees an object, objectness and classes by cross-entropy with its probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.hooks import RemovableHandle

from compressor.data.batches import fit_image_size
from compressor.data.calibration import random_crops
from compressor.models.batchnorm import batchnorm_behind
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.modifiers.state import Reports
from compressor.modifiers.state_file import below, put_tensors, tensors_of
from compressor.recipe.modifiers import Repair

_WARM_UP_STEPS = 20
_MODEL, _OPTIMISER, _DRAWN, _STEP = "model/", "optimiser/", "drawn", "step"  # of a part


def distill(
    dense: Detector, model: Detector, names: frozenset[str], images: Tensor, modifier: Repair, reports: Reports
) -> None:
    """Train the kept weights and the biases of some layers, in place; zeros get no gradient and stay.

    Args:
        dense: the teacher; stays as it is.
        model: the student, in evaluation mode, in the same form.
        names: the convolutions to train, with the BatchNorm's shift where it is kept.
        images: (N, 3, H, W) in [0, 1].
        modifier: steps, learning rate, batch and crop size, seed.
        reports: receives every step, and parts of the training.
    """
    steps, rate = modifier.steps, modifier.learning_rate
    assert steps is not None and rate is not None and modifier.batch_size is not None  # the schema fills them in
    family = family_of(model)
    trained = _parameters(model, names)
    keep = [parameter != 0 if parameter.ndim == 4 else None for parameter in trained]
    optimiser = torch.optim.Adam([{"params": [each], "scale": _size(each)} for each in trained])
    generator = torch.Generator().manual_seed(modifier.calibration.seed)
    crops = random_crops(images, crop_size(modifier, model), modifier.batch_size, generator)
    for parameter in trained:
        parameter.requires_grad_(True)
    with _features(dense) as theirs, _features(model) as ours:
        for step in range(_resumed(model, optimiser, generator, reports.parts.find()), steps):
            for group in optimiser.param_groups:
                group["lr"] = rate * schedule(step, steps) * group["scale"]
            batch = next(crops)
            with torch.no_grad():
                wanted = dense(batch)
            outputs = model(batch)  # also fills `ours`
            loss = feature_loss(ours, theirs) + family.output_loss(outputs, wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            for parameter, mask in zip(trained, keep, strict=True):
                if mask is not None and parameter.grad is not None:
                    parameter.grad *= mask
            optimiser.step()
            reports.update(step + 1, steps)
            if reports.parts.due:
                reports.parts.keep(_part(model, optimiser, generator, step + 1))
    for parameter, mask in zip(trained, keep, strict=True):
        parameter.requires_grad_(False)
        parameter.grad = None
        if mask is not None:  # a weight that is trained to nothing is kept as small as it can be
            parameter[mask & (parameter == 0)] = torch.finfo(parameter.dtype).tiny


def _part(model: Detector, optimiser: torch.optim.Optimizer, generator: torch.Generator, step: int) -> dict[str, bytes]:
    """The training so far: the model, the optimiser's and the generator's state, and the number of steps done."""
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in tensors_of(model).items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"{_OPTIMISER}{number}/{name}": tensor.clone() for name, tensor in state.items()}
    return {"part.safetensors": save(tensors | {_DRAWN: generator.get_state(), _STEP: torch.tensor(step)})}


def _resumed(
    model: Detector,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    part: dict[str, bytes] | None,
) -> int:
    """The number of steps that an interrupted training had done; all states are as it left them."""
    if part is None:
        return 0
    tensors = load(part["part.safetensors"])
    with torch.no_grad():
        put_tensors(model, below(_MODEL, tensors))
    states: dict[int, dict[str, Tensor]] = {}
    for place, tensor in below(_OPTIMISER, tensors).items():
        number, _, name = place.partition("/")
        states.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
    generator.set_state(tensors[_DRAWN])
    return int(tensors[_STEP])


def crop_size(modifier: Repair, model: Detector) -> int:
    """Side of the crops that a repair asks for, in pixels, rounded up to the network's stride."""
    assert modifier.crop is not None  # the schema fills it in for the methods that crop
    return fit_image_size(modifier.crop, max(model.strides))


def _parameters(model: Detector, names: frozenset[str]) -> list[nn.Parameter]:
    """Weights and biases of the convolutions; where BatchNorm follows, its shift instead of a bias."""
    found: list[Tensor | None] = []
    behind = {batchnorm_behind(name) for name in names}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and name in behind:
            found.append(module.bias)
        elif isinstance(module, nn.Conv2d) and name in names:
            found += [module.weight, module.bias]
    return [each for each in found if isinstance(each, nn.Parameter)]


def _size(values: Tensor) -> float:
    """Root mean square of what is not zero: the unit of a parameter's steps."""
    kept = values[values != 0]
    return float(kept.square().mean().sqrt()) if kept.numel() else 0.0


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate: a linear warm-up, then half a cosine down to zero (arXiv:1608.03983)."""
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def feature_loss(ours: dict[int, Tensor], theirs: dict[int, Tensor]) -> Tensor:
    """Mean over the stages of the squared error of their feature maps, in units of the teacher's variance; a scalar.

    Args:
        ours: (B, C, H, W) by layer index, of the student.
        theirs: the same of the teacher.
    """
    return torch.stack([mse_loss(ours[index], wanted) / wanted.var() for index, wanted in theirs.items()]).mean()


@contextmanager
def _features(model: Detector) -> Iterator[dict[int, Tensor]]:
    """The feature maps of the last forward pass, by layer index: the outputs of every stage."""
    found: dict[int, Tensor] = {}
    handles = [_keep_output(model.model[index], found, index) for index in family_of(model).stages(model)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _keep_output(module: nn.Module, found: dict[int, Tensor], index: int) -> RemovableHandle:
    def hook(_module: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> None:
        found[index] = output

    return module.register_forward_hook(hook)
