"""What whoever trains on from an exported file is told."""

from __future__ import annotations

import torch

from compressor.artifact.load import LoadedModel
from compressor.models.detector import Detector
from compressor.run.exports import cautions
from trials.tiny import tiny_model


def _told(model: Detector, form: str = "yolov5") -> tuple[str, ...]:
    return cautions(form, LoadedModel(model, model, "float32", "", {}))


def test_folded_batchnorm_and_zeros_are_told_of_a_checkpoint_for_yolov5_alone() -> None:
    assert _told(tiny_model()) == ()
    (folded,) = _told(tiny_model(fused=True))
    assert "BatchNorm is folded" in folded
    pruned = tiny_model()
    torch.nn.init.zeros_(next(pruned.parameters())[0])
    (zeros,) = _told(pruned)
    assert "has 108: of 558,566" in zeros
    assert _told(tiny_model(fused=True), "onnx") == ()
