import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from compressor.models.losses import LossSettings
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.loss import assign, ciou, detection_loss
from tests.oracles import vectors

CASES = ["p5_nc80", "p5_nc4_smooth", "p5_nc1", "p6_nc80", "p5_empty", "p5_pw_focal", "p5_scaled_hyp_640"]


def case(golden: Path, name: str) -> Any:
    cases = json.loads((golden / "loss.json").read_text())["cases"]
    return next(entry for entry in cases if entry["id"] == name)


def grid_anchors(name: str) -> Tensor:
    pixels = torch.tensor(stock_architecture("v6", "s6" if name == "P6" else "s").anchors)
    strides = torch.tensor([8.0, 16.0, 32.0, 64.0][: len(pixels)])
    return pixels / strides.view(-1, 1, 1)


def logits(expected: Any) -> list[Tensor]:
    raw = []
    for seed, (rows, columns), crc in zip(
        expected["pred_seeds"], expected["grid_shapes"], expected["pred_crc32"], strict=True
    ):
        shape = (expected["batch"], 3, rows, columns, 5 + expected["nc"])
        values = (5 * np.random.RandomState(seed).random_sample(shape) - 2.5).astype(np.float32)
        assert zlib.crc32(values.tobytes()) == crc
        raw.append(torch.from_numpy(values).requires_grad_())
    return raw


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_equal_upstream(golden: Path, name: str) -> None:
    expected = case(golden, name)
    targets = load_file(golden / "loss.safetensors")[f"{name}.targets"]
    raw = logits(expected)
    loss = detection_loss(raw, targets, grid_anchors(expected["anchors"]), LossSettings(**expected["hyp"]))
    assert loss.box.item() == pytest.approx(expected["lbox"], rel=1e-5, abs=1e-7)
    assert loss.obj.item() == pytest.approx(expected["lobj"], rel=1e-5)
    assert loss.cls.item() == pytest.approx(expected["lcls"], rel=1e-5, abs=1e-7)
    assert loss.total.item() == pytest.approx(expected["loss"], rel=1e-5)
    loss.total.backward()  # type: ignore[no-untyped-call]
    sums = [level.grad.abs().sum().item() for level in raw if level.grad is not None]
    assert sums == pytest.approx(expected["grad_abs_sum"], rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_assignment_order_equals_upstream(golden: Path, name: str) -> None:
    expected = case(golden, name)
    vectors = load_file(golden / "loss.safetensors")
    anchors = grid_anchors(expected["anchors"])
    for level, (rows, columns) in enumerate(expected["grid_shapes"]):
        ours = assign(vectors[f"{name}.targets"], anchors[level], (columns, rows), expected["hyp"]["anchor_t"])
        assert len(ours.image) == expected["matches"][level]
        if expected["matches"][level] == 0:
            continue
        theirs = vectors[f"{name}.layer{level}.image_anchor_gj_gi_class"].long()
        assert torch.equal(torch.stack((ours.image, ours.anchor, ours.row, ours.column, ours.class_index), 1), theirs)
        assert torch.allclose(ours.box, vectors[f"{name}.layer{level}.tbox_xywh"], atol=1e-5)
        assert torch.allclose(ours.anchor_size, vectors[f"{name}.layer{level}.anchor_wh"], atol=1e-6)


@pytest.mark.parametrize("name", vectors.LOSS)
def test_loss_gradients_and_assignment_equal_the_committed_vectors(name: str) -> None:
    found, (p6, _, _, changed) = vectors.committed("loss"), vectors.LOSS[name]
    anchors = grid_anchors("P6" if p6 else "P5")
    targets = torch.from_numpy(found[f"{name}.targets"])
    raw = [torch.from_numpy(found[f"{name}.logits{level}"]).requires_grad_() for level in range(len(anchors))]
    loss = detection_loss(raw, targets, anchors, LossSettings(**{**vectors.HYP, **changed}))
    terms = [each.item() for each in (loss.box, loss.obj, loss.cls, loss.total)]
    assert terms == pytest.approx(found[f"{name}.terms"].tolist(), rel=1e-5, abs=1e-7)
    loss.total.backward()  # type: ignore[no-untyped-call]
    sums = [level.grad.abs().sum().item() for level in raw if level.grad is not None]
    assert sums == pytest.approx(found[f"{name}.gradients"].tolist(), rel=1e-5)
    for level, logits in enumerate(raw):
        ours = assign(targets, anchors[level], (logits.shape[3], logits.shape[2]), vectors.HYP["anchor_t"])
        cells = torch.stack((ours.image, ours.anchor, ours.row, ours.column, ours.class_index), 1)
        expected = torch.from_numpy(found[f"{name}.matches{level}"])
        assert torch.equal(cells, expected[:, :5].long())
        assert torch.allclose(ours.box.double(), expected[:, 5:], atol=1e-5)


def test_the_gains_of_the_defaults_fit_three_levels_80_classes_and_640_px() -> None:
    same = LossSettings().scaled(levels=3, nc=80, image_size=640)
    assert (same.box, same.cls, same.obj) == pytest.approx((0.05, 0.5, 1.0))
    scaled = LossSettings().scaled(levels=4, nc=20, image_size=320)
    assert (scaled.box, scaled.cls, scaled.obj) == pytest.approx((0.0375, 0.09375, 0.1875))


def test_ciou_of_equal_boxes_is_1_and_falls_with_distance() -> None:
    box = torch.tensor([[0.5, 0.5, 2.0, 3.0]])
    assert ciou(box, box).item() == pytest.approx(1.0, abs=1e-6)
    apart = [ciou(box + torch.tensor([[shift, 0.0, 0.0, 0.0]]), box).item() for shift in (0.5, 2.5, 10.0)]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 0


def test_of_two_boxes_in_one_cell_the_last_sets_the_objectness_target() -> None:
    anchors = torch.tensor([[[2.0, 2.0]]])
    fitting, large = [0.0, 0.0, 0.55, 0.55, 0.2, 0.2], [0.0, 0.0, 0.55, 0.55, 0.4, 0.4]

    def objectness(*boxes: list[float]) -> float:
        logits = torch.zeros(1, 1, 10, 10, 6)
        logits[..., 4] = 1.0
        balanced = LossSettings(obj=1.0)
        return detection_loss([logits], torch.tensor(boxes), anchors, balanced).obj.item()

    assert objectness(fitting, large) == objectness(large)
    assert objectness(large, fitting) == objectness(fitting)
    assert objectness(large) != objectness(fitting)
