"""The change of a model's outputs, against plain forward passes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from compressor.errors import RunError
from compressor.evaluation.output_change import OutputChange
from compressor.models.detector import Detector
from compressor.models.yolov5.difference import head_loss
from compressor.models.yolov5.fuse import fuse
from compressor.plan.layers import Layer, convolutions
from trials.tiny import tiny_model

CPU = torch.device("cpu")
IMAGES = 11  # more than one batch


@pytest.fixture
def images() -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return torch.rand(IMAGES, 3, 64, 64)


def first_of(layer: Layer) -> int:
    return int(layer.name.split(".")[1])


def doubles(model: Detector, image: Tensor) -> list[Tensor]:
    return [level.double() for level in model(image[None])]


def plain_change(model: Detector, wanted: list[list[Tensor]], images: Tensor) -> float:
    """Every image by itself through the whole network, against what the dense one gave for it."""
    with torch.no_grad():
        pairs = zip(images, wanted, strict=True)
        losses = [float(head_loss(doubles(model, image), dense)) for image, dense in pairs]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("fused", [True, False])
def test_equals_plain_forward_passes_for_every_layer(images: Tensor, fused: bool) -> None:
    dense = fuse(tiny_model()) if fused else tiny_model()
    model = copy.deepcopy(dense)
    with torch.no_grad():
        wanted = [doubles(dense, image) for image in images]
    meter = OutputChange(model, images, CPU)
    changes = []
    for layer in convolutions(model):
        before = layer.weight.clone()
        layer.weight[0] = 0.0
        found = meter.loss(first_of(layer))
        assert found == pytest.approx(plain_change(model, wanted, images), rel=1e-3, abs=1e-10)
        changes.append(found)
        layer.weight.copy_(before)
        assert meter.loss(first_of(layer)) == pytest.approx(0.0, abs=1e-10)
    assert sum(found > 0 for found in changes) > 50  # random weights drown a few of them


def test_advancing_step_by_step_is_one_forward_pass(images: Tensor) -> None:
    model = tiny_model()
    last = len(model.model)
    state = {-1: images}
    with torch.no_grad():
        for stop in range(1, last + 1):
            state = dict(model.advance(state, range(stop - 1, stop)))
            assert stop == last or len(state) <= 6  # not every output is kept
        expected = model(images)
    assert list(state) == [last - 1]
    assert all(torch.equal(now, then) for now, then in zip(state[last - 1], expected, strict=True))


def test_layers_are_asked_for_in_order(images: Tensor) -> None:
    meter = OutputChange(tiny_model(), images, CPU)
    meter.loss(5)
    with pytest.raises(AssertionError):
        meter.loss(4)


def test_digest_is_of_the_images(images: Tensor) -> None:
    model = tiny_model()
    first, other = OutputChange(model, images, CPU), OutputChange(model, images.flip(0), CPU)
    assert (first.images, first.digest) == (IMAGES, OutputChange(tiny_model(1), images, CPU).digest)
    assert first.digest != other.digest


def test_outputs_that_are_not_finite_are_refused(images: Tensor) -> None:
    model = tiny_model()
    meter = OutputChange(model, images, CPU)
    layer = convolutions(model)[-1]
    layer.weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(RunError, match="E811"):
        meter.loss(first_of(layer))
    with pytest.raises(RunError, match="E811"):
        OutputChange(model, images, CPU)


def test_too_little_memory_is_told(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()

    def full(_images: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(model.model[0], "forward", full)
    with pytest.raises(RunError, match="E812"):
        OutputChange(model, images, CPU)
