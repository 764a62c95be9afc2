from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from compressor.artifact.load import load_model
from compressor.data.shapes import NAMES, Scene, draw_scene
from compressor.models.detector import Detector
from compressor.training.augment import Example, pad_to_square
from tests.decoded import predict

VAL_SEEDS = range(1_000_000, 1_000_020)
IMAGE_SIZE = 256


def shipped() -> Detector:
    file = resources.files("compressor.data").joinpath("weights", "yolov5_shapes.safetensors")
    with resources.as_file(file) as path:
        assert path.stat().st_size < 3_000_000
        return load_model(Path(path)).model


def share_found(model: Detector, scene: Scene) -> NDArray[np.bool_]:
    """For each object whether the best-scored box that overlaps it by half has its class."""
    height, width = scene.shapes.shape
    scale = IMAGE_SIZE / max(height, width)
    resized = cv2.resize(scene.image, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_AREA)
    square = pad_to_square(
        Example(resized.astype(np.uint8), np.array(scene.classes), scene.boxes() * scale), IMAGE_SIZE
    )
    pixels = torch.from_numpy(square.image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    decoded = predict(model, pixels)[0].numpy()
    low, high = decoded[:, :2] - decoded[:, 2:4] / 2, decoded[:, :2] + decoded[:, 2:4] / 2
    found = []
    for class_index, box in zip(scene.classes, square.boxes, strict=True):
        shared = np.clip(np.minimum(high, box[2:]) - np.maximum(low, box[:2]), 0, None).prod(axis=1)
        iou = shared / ((high - low).prod(axis=1) + (box[2:] - box[:2]).prod() - shared)
        score = decoded[:, 4] * (iou > 0.5)
        best = int(score.argmax())
        found.append(bool(score[best] > 0.1 and decoded[best, 5:].argmax() == class_index))
    return np.array(found)


def test_the_shipped_model_finds_most_shapes_it_never_saw() -> None:
    model = shipped()
    assert model.names == NAMES
    found = np.concatenate([share_found(model, draw_scene(seed)) for seed in VAL_SEEDS])
    assert len(found) > 80
    assert found.mean() > 0.8


def test_it_needs_its_weights() -> None:
    model = shipped()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 4:
                threshold = parameter.abs().flatten().kthvalue(parameter.numel() // 2).values
                parameter.mul_(parameter.abs() > threshold)
    found = np.concatenate([share_found(model, draw_scene(seed)) for seed in VAL_SEEDS])
    assert found.mean() < 0.5
