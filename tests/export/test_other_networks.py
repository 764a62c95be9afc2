"""Networks other than the released ones, through every format and back: strides (P2 to P7), activations and widths."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import torch

from compressor.artifact.load import LoadedModel
from compressor.export.open import open_network
from compressor.export.write import Options, write
from compressor.models.detector import Detector
from compressor.models.yolov5.activation import SILU, parse_activation
from compressor.models.yolov5.architecture import Architecture, Row
from compressor.models.yolov5.build import build
from compressor.models.yolov5.convolutions import with_widths
from compressor.models.yolov5.fuse import fuse
from compressor.recipe.exports import TRAITS, ExportFormat
from tests.decoded import detections
from tests.export.conftest import loaded
from trials.seeded import fill
from trials.tiny import NAMES

SIZE = 128
STRIDES = (4, 128)


@pytest.fixture(scope="module")
def wide() -> Detector:
    """Seven halvings; it detects after the second and the last, and a C3 and what follows have widths of their own."""
    halvings = tuple(Row((-1,), 1, "Conv", (8, 3, 2)) for _ in range(7))
    backbone = (*halvings[:2], Row((-1,), 1, "C3", (8,)), *halvings[2:])
    anchors = (((8.0, 8.0), (12.0, 9.0)), ((96.0, 96.0), (120.0, 100.0)))
    head = (Row((1, 7), 1, "Detect", ("nc", "anchors")),)
    widths = {"model.2.m.0.cv1.conv": 3, "model.2.cv2.conv": 5, "model.2.cv3.conv": 7, "model.7.conv": 9}
    architecture = with_widths(Architecture(len(NAMES), 1.0, 1.0, anchors, backbone, head), widths)
    return fill(build(architecture, NAMES)).eval().requires_grad_(False)


@pytest.mark.parametrize("form", get_args(ExportFormat))
def test_every_format_takes_every_stride_and_width(wide: Detector, tmp_path: Path, form: ExportFormat) -> None:
    dynamic_size = form == "onnx"  # from an image of one stride, which torch must not take for the only size
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    source: LoadedModel = loaded(wide)
    place = tmp_path / f"model{TRAITS[form].ending}"
    agreement = write(source, form, Options(SIZE, dynamic_size=dynamic_size), images, place)
    assert agreement is not None
    network = open_network(place, torch.device("cpu"))
    assert network.strides == STRIDES
    assert network.image_size == (SIZE if TRAITS[form].graph and not dynamic_size else None)
    if dynamic_size:
        other = torch.rand(2, 3, 2 * SIZE, 3 * SIZE)
        torch.testing.assert_close(
            network.predict(other), detections(fuse(copy.deepcopy(wide)), other), rtol=1e-4, atol=1e-2
        )


@pytest.mark.parametrize(
    ("form", "activation"),
    [
        *product(("yolov5", "dense", "torchscript"), ("nn.ReLU()", "nn.LeakyReLU(0.1)", "nn.Hardswish()")),
        ("onnx", "nn.LeakyReLU(0.1)"),  # of which OpenVINO's is made
        ("onnx", "nn.Hardswish()"),
    ],
)
def test_every_format_takes_other_activations(form: ExportFormat, activation: str, tmp_path: Path) -> None:
    rows = tuple(Row((-1,), 1, "Conv", (8, 3, 2)) for _ in range(3))
    head = (Row((1, 2), 1, "Detect", ("nc", "anchors")),)
    anchors = (((8.0, 8.0), (12.0, 9.0)), ((30.0, 30.0), (60.0, 40.0)))
    architecture = Architecture(len(NAMES), 1.0, 1.0, anchors, rows, head, parse_activation(activation))
    model = fill(build(architecture, NAMES)).eval().requires_grad_(False)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    place = tmp_path / f"model{TRAITS[form].ending}"
    write(loaded(model), form, Options(64), images, place)
    found = open_network(place, torch.device("cpu")).predict(images)
    torch.testing.assert_close(found, detections(model, images), rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        silu = detections(fill(build(replace(architecture, activation=SILU), NAMES)).eval(), images)
    assert not torch.allclose(found, silu, rtol=1e-2, atol=1e-2)
