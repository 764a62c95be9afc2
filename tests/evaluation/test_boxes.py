import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.evaluation.boxes import pairwise_iou, rescale_to_original, xywh_to_xyxy, xyxy_to_xywh

WHOLE = st.integers(0, 2000).map(float)


def test_corners_and_centre() -> None:
    xyxy = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    assert xyxy_to_xywh(xyxy).tolist() == [[20, 40, 20, 40]]
    assert xywh_to_xyxy(torch.tensor([[20.0, 40.0, 20.0, 40.0]])).tolist() == xyxy.tolist()


@given(st.lists(st.tuples(WHOLE, WHOLE, WHOLE, WHOLE), max_size=5))
def test_corners_to_centre_and_back_is_identity(rows: list[tuple[float, ...]]) -> None:
    boxes = torch.tensor(rows).reshape(-1, 4)
    assert torch.equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)


def test_iou_by_hand() -> None:
    a = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[5.0, 0.0, 15.0, 10.0], [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    expected = torch.tensor([[50 / 150, 1.0, 0.0], [0.0, 4 / 100, 0.0]])
    assert torch.equal(pairwise_iou(a, b), expected)


def test_eps_keeps_the_iou_of_boxes_without_area_defined() -> None:
    point = torch.zeros(1, 4)
    assert pairwise_iou(point, point).isnan().all()
    assert pairwise_iou(point, point, eps=1e-7).item() == 0
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert pairwise_iou(unit, unit, eps=0.5).item() == pytest.approx(1 / 1.5)


def test_iou_of_nothing_is_empty() -> None:
    assert pairwise_iou(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)


def test_rescaling_uses_one_gain_and_clips_to_the_image() -> None:
    boxes = torch.tensor([[12.0, 30.5, 62.0, 80.5], [-50.0, -50.0, 900.0, 900.0]])
    rescaled = rescale_to_original(boxes, size=(200, 300), gain=0.5, pad=(2.0, 10.5))
    assert rescaled.tolist() == [[20, 40, 120, 140], [0, 0, 300, 200]]
