import copy
from itertools import cycle

import pytest
import torch
from torch import Tensor

from compressor.evaluation import estimate
from compressor.evaluation.estimate import inference_seconds
from compressor.evaluation.network import Network
from compressor.evaluation.predict import Stopwatch
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.recipe.schema import Evaluation as Settings
from trials.tiny import tiny_model

CPU = torch.device("cpu")


def settings(image_size: int, batch_size: int) -> Settings:
    return Settings(image_size=image_size, batch_size=batch_size)


def test_a_larger_image_takes_longer() -> None:
    assert inference_seconds(tiny_model(), settings(1280, 4), CPU) > 2 * inference_seconds(
        tiny_model(), settings(64, 4), CPU
    )


def fake_passes(monkeypatch: pytest.MonkeyPatch, *laps: float) -> list[tuple[int, ...]]:
    """Let passes of the network take these seconds, over and over; the shapes it is given."""
    shapes = []

    def predict(images: Tensor) -> Tensor:
        shapes.append(tuple(images.shape))
        return images

    def ready(model: Detector, device: torch.device, _: str) -> Network:
        return Network(model.names, model.strides, predict, device)

    seconds = cycle(laps)
    monkeypatch.setattr(estimate, "inference_network", ready)
    monkeypatch.setattr(Stopwatch, "lap", lambda _: next(seconds))
    return shapes


def test_a_larger_image_is_measured_small_and_scaled_by_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = fake_passes(monkeypatch, 0.3, 0.2)
    found = [inference_seconds(tiny_model(), settings(size, 2), CPU) for size in (50, 320, 640, 1270)]
    assert found == pytest.approx([0.1, 0.1, 0.4, 1.6])
    assert shapes == [(2, 3, 64, 64)] * 2 + [(2, 3, 320, 320)] * 6


def test_a_slow_pass_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = fake_passes(monkeypatch, 7.0)
    assert inference_seconds(tiny_model(), settings(320, 4), CPU) == pytest.approx(7 / 4)
    assert len(shapes) == 1


@pytest.mark.parametrize(("size", "images"), [("n", 32), ("s", 8), ("m", 3), ("l", 1)])
def test_a_larger_network_gets_fewer_images_at_once(monkeypatch: pytest.MonkeyPatch, size: str, images: int) -> None:
    shapes = fake_passes(monkeypatch, 1.0)
    inference_seconds(build(stock_architecture("v6", size, nc=80)), settings(320, 64), CPU)
    assert shapes == [(images, 3, 320, 320)]


def test_leaves_the_model_as_it_is() -> None:
    model = tiny_model().train()
    before = copy.deepcopy(model.state_dict())
    inference_seconds(model, settings(64, 1), CPU)
    assert model.training
    assert not model.fused
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
