from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from compressor.data.dataset import Sample
from compressor.data.shapes import NAMES, draw_scene
from compressor.errors import DatasetError, RunError
from compressor.models.detector import Detector
from compressor.models.losses import LossSettings
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.training.augment import AugmentSettings, Example, augment
from compressor.training.optimiser import OptimiserSettings
from compressor.training.train import Course, EpochLosses, Hyperparameters, collate, load_example, train

QUICK = Hyperparameters(
    optimiser=OptimiserSettings(
        algorithm="adamw", lr0=0.01, warmup_epochs=0, warmup_iterations=2, warmup_bias_lr=0, nominal_batch_size=4
    ),
    augment=AugmentSettings(mosaic=0.5),
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("images")
    found = []
    for seed in range(8):
        scene = draw_scene(seed)
        path = folder / f"{seed}.png"
        path.write_bytes(cv2.imencode(".png", scene.image)[1].tobytes())
        height, width = scene.shapes.shape
        boxes = scene.boxes() / (width, height, width, height)
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        labels = np.column_stack((scene.classes, centre, size)).astype(np.float32)
        found.append(Sample(path, width, height, labels))
    return found


def tiny() -> Detector:
    torch.manual_seed(0)
    stock = stock_architecture("v6", "n", nc=len(NAMES))
    return build(replace(stock, width_multiple=0.0625), NAMES)


def test_losses_fall_where_the_images_stay_the_same(samples: list[Sample]) -> None:
    seen: list[EpochLosses] = []
    still = AugmentSettings(hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, fliplr=0, mosaic=0)
    hyp = replace(QUICK, loss=LossSettings(box=0.3, obj=3.0, cls=4.0), augment=still)
    model = tiny()
    trained = train(model, samples, hyp, Course(15, 4, 128, seed=0), seen.append)
    assert [losses.epoch for losses in seen] == list(range(1, 16))
    assert seen[-1].box < 0.9 * seen[0].box
    assert seen[-1].cls < 0.97 * seen[0].cls
    assert trained is not model
    assert not trained.training
    assert all(parameter.is_contiguous() for parameter in trained.parameters())


def test_the_last_epochs_can_do_without_mosaic(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []

    def remember(
        index: int, count: int, load: Callable[[int], Example], settings: AugmentSettings, *rest: Any
    ) -> Example:
        used.append(settings.mosaic)
        return augment(index, count, load, settings, *rest)

    monkeypatch.setattr("compressor.training.train.augment", remember)
    train(tiny(), samples, QUICK, Course(3, 4, 64, seed=0, plain_epochs=1))
    assert used == [0.5] * 16 + [0.0] * 8


def test_the_same_seed_gives_the_same_weights_and_another_one_others(samples: list[Sample]) -> None:
    states = [train(tiny(), samples, QUICK, Course(1, 4, 64, seed=seed)).state_dict() for seed in (3, 3, 4)]
    key = "model.0.conv.weight"
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0][key], states[2][key])


def test_without_images_there_is_nothing_to_train_on() -> None:
    with pytest.raises(DatasetError, match="D490"):
        train(tiny(), [], QUICK, Course(1, 4, 64, seed=0))


def test_a_loss_that_runs_away_is_an_error(samples: list[Sample]) -> None:
    wild = replace(QUICK, optimiser=OptimiserSettings(lr0=1e30, warmup_iterations=1, nominal_batch_size=4))
    with pytest.raises(RunError, match="E830"):
        train(tiny(), samples, wild, Course(3, 4, 64, seed=0))


def test_an_example_is_the_image_with_its_longer_side_resized(samples: list[Sample]) -> None:
    sample = samples[0]
    example = load_example(sample, 128)
    assert max(example.image.shape[:2]) == 128
    full = load_example(sample, max(sample.width, sample.height))
    assert np.array_equal(full.image, draw_scene(0).image)
    assert full.boxes == pytest.approx(draw_scene(0).boxes(), abs=1e-3)


def test_collate_gives_rgb_fractions_and_normalised_targets() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 2] = 255  # red, in BGR
    one = Example(image, np.array([2]), np.array([[8.0, 0.0, 24.0, 32.0]]))
    none = Example(image, np.zeros(0, np.int64), np.zeros((0, 4)))
    pixels, targets = collate([none, one])
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels[0, :, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert targets.tolist() == [[1.0, 2.0, 0.5, 0.5, 0.5, 1.0]]
