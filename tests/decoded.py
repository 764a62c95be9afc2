"""What a network detects, as its exports give it."""

from __future__ import annotations

from torch import Tensor

from compressor.models.detector import Detector
from compressor.models.yolov5.detect import head_of, scored


def predict(model: Detector, images: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] to (B, rows, 5 + nc): boxes, objectness, class probabilities."""
    return head_of(model).decode(model(images))


def detections(model: Detector, images: Tensor) -> Tensor:
    """The same as (B, rows, 4 + nc): boxes, and a score for each class."""
    return scored(predict(model, images))
