import copy
import math

import pytest
import torch
from torch import Tensor

from compressor.evaluation.estimate import SECONDS_BESIDE_INFERENCE, inference_seconds, probe, seconds_per_image
from compressor.evaluation.predict import Stopwatch
from compressor.yolov5.build import YOLOv5
from tests.tiny import tiny_model

CPU = torch.device("cpu")


def test_is_positive_finite_and_holds_the_rest_of_the_evaluation() -> None:
    seconds = seconds_per_image(tiny_model(), 64, 4, CPU)
    assert math.isfinite(seconds)
    assert seconds > SECONDS_BESIDE_INFERENCE


def test_a_larger_image_takes_longer() -> None:
    assert inference_seconds(tiny_model(), 1280, 4, CPU) > 2 * inference_seconds(tiny_model(), 64, 4, CPU)


def test_a_larger_image_is_measured_small_and_scaled_by_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def predict(_: YOLOv5, images: Tensor) -> Tensor:
        shapes.append(tuple(images.shape))
        return images

    laps = iter([0.5, 0.4] * 4)
    monkeypatch.setattr(YOLOv5, "predict", predict)
    monkeypatch.setattr(Stopwatch, "lap", lambda _: next(laps))
    found = [inference_seconds(tiny_model(), size, 32, CPU) for size in (50, 320, 640, 1270)]
    assert found == pytest.approx([0.4, 0.4, 1.6, 6.4])
    assert shapes == [(1, 3, 64, 64)] * 3 + [(1, 3, 320, 320)] * 9


def test_a_gpu_is_measured_at_full_size_with_a_bounded_batch() -> None:
    gpu = torch.device("cuda:0")
    assert probe(640, 32, gpu, 32) == (640, 8)
    assert probe(640, 1, gpu, 32) == (640, 1)


def test_leaves_the_model_as_it_is() -> None:
    model = tiny_model().train()
    before = copy.deepcopy(model.state_dict())
    inference_seconds(model, 64, 1, CPU)
    assert model.training
    assert not model.fused
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
