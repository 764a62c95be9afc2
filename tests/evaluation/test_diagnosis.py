"""Which image, and which layer: outputs that are not finite are named, never averaged in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compressor.data.dataset import Sample
from compressor.errors import RunError
from compressor.evaluation.diagnosis import check_finite, first_not_finite
from compressor.evaluation.network import Network, Suppression, inference_network
from compressor.evaluation.output_change import OutputChange
from compressor.models.detector import Detector
from trials.tiny import tiny_model

CPU = torch.device("cpu")
SAMPLES = tuple(Sample(Path(f"/pictures/{i}.png"), 64, 64, np.zeros((0, 5), np.float32)) for i in range(4))


def overflowing(layer: str = "model.4.cv2.conv") -> Detector:
    """A model with finite weights, of which one layer overflows in every other of its channels."""
    model = tiny_model(fused=True)
    convolution = model.get_submodule(layer)
    assert isinstance(convolution, torch.nn.Conv2d) and convolution.bias is not None
    sign = torch.tensor([1.0, -1.0]).repeat(len(convolution.bias))[: len(convolution.bias)]
    convolution.weight.copy_((3e38 * sign)[:, None, None, None].expand_as(convolution.weight))
    convolution.bias.copy_(3.4e38 * sign)
    return model


def images() -> torch.Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def error_of(network: Network, predictions: torch.Tensor, batch: torch.Tensor) -> str:
    with pytest.raises(RunError) as caught:
        check_finite(network, batch, predictions, SAMPLES)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E811" and diagnostic.help
    return diagnostic.message


@pytest.mark.parametrize("layer", ["model.0.conv", "model.4.cv2.conv", "model.13.m.0.cv1.conv", "model.24.m.1"])
def test_the_first_layer_that_overflows_is_named(layer: str) -> None:
    network = inference_network(overflowing(layer), CPU)
    message = error_of(network, network.predict(images()), images())
    assert message.startswith(
        "the model's outputs are not finite numbers on /pictures/0.png, and on 3 more of 4 images"
    )
    assert f"the first layer whose output is not finite is {layer} (" in message
    assert "its input has values up to" in message


def test_the_image_is_named() -> None:
    """One image of the batch alone: what the others give is finite, and their figures would hide it."""
    network = inference_network(tiny_model(), CPU)
    batch = images()
    predictions = network.predict(batch)
    check_finite(network, batch, predictions, SAMPLES)
    predictions[2, 5, 4] = torch.nan  # an objectness that is above no threshold
    message = error_of(network, predictions, batch)
    assert message == "the model's outputs are not finite numbers on /pictures/2.png"
    batch[3, 0, 0, 0] = torch.inf
    message = error_of(network, network.predict(batch), batch)
    assert message.startswith("the model's outputs are not finite numbers on /pictures/3.png; the image itself")


def test_a_network_that_is_no_model_of_torch_names_the_image() -> None:
    network = replace(inference_network(tiny_model(), CPU), model=None)
    predictions = network.predict(images())
    predictions[1] = torch.inf
    assert error_of(network, predictions, images()).endswith("on /pictures/1.png")
    rows = torch.tensor([[0, 1, 1, 2, 2, 0.5, 0], [3, 1, 1, torch.inf, 2, 0.5, 0], [3, 1, 1, 2, 2, torch.nan, 0]])
    graph = replace(network, suppression=Suppression(0.25, 0.45, 300))
    assert error_of(graph, rows, images()).endswith("on /pictures/3.png")
    check_finite(graph, images(), rows[:1], SAMPLES)


def test_weights_that_folding_made_are_told_apart() -> None:
    model = tiny_model()
    model.get_submodule("model.3.bn").running_var.fill_(-1)  # type: ignore[operator]
    network = inference_network(model, CPU)
    assert "model.3.conv (" in (first_not_finite(network.model or model, images()[:1]) or "")
    assert "once BatchNorm is folded" in (first_not_finite(network.model or model, images()[:1]) or "")


def test_a_sound_model_has_no_such_layer() -> None:
    assert first_not_finite(tiny_model(), images()[:1]) is None


def test_a_measurement_of_outputs_names_the_layer() -> None:
    with pytest.raises(RunError, match=r"E811 .* first layer whose output is not finite is model\.4\.cv2\.conv"):
        OutputChange(overflowing(), images(), CPU)
