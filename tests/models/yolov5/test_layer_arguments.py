"""What a row's arguments make: built as they say, or refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from compressor.errors import CheckpointError
from compressor.models.yolov5.architecture import (
    Architecture,
    Row,
    architecture_from_yaml,
    architecture_to_yaml,
    stock_architecture,
)
from compressor.models.yolov5.build import build
from compressor.models.yolov5.checkpoint import read_checkpoint
from compressor.models.yolov5.convolutions import convolutions_of
from tests.decoded import predict
from tests.models.yolov5.test_checkpoint import LookAlikes, look_alikes, save
from trials.seeded import fill

__all__ = ["look_alikes"]  # the fixture

STOCK = replace(stock_architecture("v6", "n", nc=3), width_multiple=0.0625)


def with_row(index: int, *args: Any) -> dict[str, Any]:
    """The layer table of a small YOLOv5 with other arguments in one row."""
    yaml = architecture_to_yaml(STOCK)
    rows = [*yaml["backbone"], *yaml["head"]]
    rows[index][3] = list(args)
    return yaml


def read(yaml: dict[str, Any]) -> Architecture:
    return architecture_from_yaml(yaml, 3, STOCK.anchors, "x.pt")


CONV, C3, SPPF, UP, CONCAT = 1, 2, 9, 11, 12


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["None", 2, "nearest"], {"mode": "nearest"}),
        ([None, 2.0], {"mode": "nearest"}),
        ([None, [2, 2], "bilinear"], {"mode": "bilinear"}),
        ([None, 2, "bilinear", True], {"mode": "bilinear", "align_corners": True}),
        ([None, 2, "bicubic", "False"], {"mode": "bicubic"}),
        ([None, 2, "nearest-exact"], {"mode": "nearest-exact"}),
    ],
)
def test_upsampling_is_what_the_row_says(args: list[Any], expected: dict[str, Any]) -> None:
    layer = build(read(with_row(UP, *args))).model[UP]
    x = torch.rand(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(x), interpolate(x, scale_factor=2, **expected))


def test_the_scale_of_an_upsampling_is_that_of_its_row() -> None:
    rows = (Row((-1,), 1, "Conv", (64, 3, 32)), Row((-1,), 1, "Upsample", (None, 4, "nearest")))
    head = Row((0, 1), 1, "Detect", ("nc", "anchors"))
    table = replace(STOCK, backbone=rows[:1], head=(rows[1], head), anchors=STOCK.anchors[:2])
    model = build(table)
    assert model.strides == (32, 8)
    assert [tuple(raw.shape[2:4]) for raw in model(torch.zeros(1, 3, 64, 64))] == [(2, 2), (8, 8)]


REFUSED = [
    (CONV, [128, 3, 2, None, 1, 2], "argument 6 or 7, 2, of the row Conv"),
    (CONV, [128, 3, 2, None, 1, False], "argument 6 or 7, False, of the row Conv"),
    (CONV, [128, 3, 2, None, 1, "nn.ReLU()"], "argument 6 or 7, 'nn.ReLU()', of the row Conv"),
    (CONV, [128, [3, 1], 2], "the kernel a list, of the row Conv"),
    (C3, [128, True, 2], "groups or expansion, 2, of the row C3"),
    (C3, [128, True, 1, 0.25], "groups or expansion, 0.25, of the row C3"),
    (SPPF, [1024, 5, 1], "an argument behind the kernel, 1, of the row SPPF"),
    (CONCAT, [2], "the axis, 2, of the row Concat"),
    (UP, [None, 1.5, "nearest"], "the scale factor 1.5, of the row Upsample"),
    (UP, [None, [2, 3]], "the scale factor a list, of the row Upsample"),
    (UP, [[64, 64], None], "the size a list, of the row Upsample"),
    (UP, [None, 2, "area"], "the mode 'area', of the row Upsample"),
    (UP, [None, 2, "nearest", True], "align_corners True in mode nearest, of the row Upsample"),
    (UP, [None, float("nan")], "the scale factor nan, of the row Upsample"),
    (UP, [None, 2, ["x"]], "the mode a list, of the row Upsample"),
]


@pytest.mark.parametrize(("index", "args", "expected"), REFUSED)
def test_what_is_not_built_is_named(index: int, args: list[Any], expected: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(with_row(index, *args))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("W304", f"{expected} in its layer table, is not supported")


@pytest.mark.parametrize(
    ("index", "args"),
    [(CONV, [128, 3, 2, None, 1, 1, True]), (CONV, [128, 3, 2, "None", 1, True]), (C3, [128, True, 1, 0.5])],
)
def test_defaults_that_are_stated_change_nothing(index: int, args: list[Any]) -> None:
    found, stock = fill(build(read(with_row(index, *args)))).eval(), fill(build(STOCK)).eval()
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(predict(found, images), predict(stock, images))


def from_p2_to_p7() -> Architecture:
    """A network that detects at strides 4 to 128."""
    stages = [Row((-1,), 1, "Conv", (64 * 2**level, 3, 2)) for level in range(7)]
    head = Row((1, 2, 3, 4, 5, 6), 1, "Detect", ("nc", "anchors"))
    anchors = tuple(((8.0 * 2**level, 6.0 * 2**level),) for level in range(6))
    return replace(STOCK, backbone=tuple(stages), head=(head,), anchors=anchors)


def test_strides_from_p2_to_p7(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model = fill(build(from_p2_to_p7(), ("a", "b", "c"))).eval()
    assert model.strides == (4, 8, 16, 32, 64, 128)
    found = read_checkpoint(save(tmp_path / "x.pt", look_alikes.root(model))).model
    assert found.spec == model.spec
    images = torch.rand(1, 3, 128, 256)
    assert [tuple(raw.shape[2:4]) for raw in found(images)] == [(32 // 2**i, 64 // 2**i) for i in range(6)]
    assert torch.equal(predict(found, images), predict(model, images))
    shapes = {f"{each.name}.weight": each.shape for each in convolutions_of(found.spec)}
    assert shapes == {name: tuple(w.shape) for name, w in found.state_dict().items() if w.ndim == 4}


def test_a_checkpoint_upsamples_as_its_table_and_modules_say(tmp_path: Path, look_alikes: LookAlikes) -> None:
    model = fill(build(read(with_row(UP, None, 2, "bilinear")), ("a", "b", "c"))).eval()
    found = read_checkpoint(save(tmp_path / "x.pt", look_alikes.root(model))).model
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(predict(found, images), predict(model, images))
    assert not torch.allclose(predict(found, images), predict(fill(build(STOCK)).eval(), images))
    assert [layer.mode for layer in found.model if isinstance(layer, nn.Upsample)] == ["bilinear", "nearest"]
