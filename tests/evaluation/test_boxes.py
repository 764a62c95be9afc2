import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.evaluation.boxes import rescale_to_original, xywh_to_xyxy, xyxy_to_xywh

WHOLE = st.integers(0, 2000).map(float)


def test_corners_and_centre() -> None:
    xyxy = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    assert xyxy_to_xywh(xyxy).tolist() == [[20, 40, 20, 40]]
    assert xywh_to_xyxy(torch.tensor([[20.0, 40.0, 20.0, 40.0]])).tolist() == xyxy.tolist()


@given(st.lists(st.tuples(WHOLE, WHOLE, WHOLE, WHOLE), max_size=5))
def test_corners_to_centre_and_back_is_identity(rows: list[tuple[float, ...]]) -> None:
    boxes = torch.tensor(rows).reshape(-1, 4)
    assert torch.equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)


def test_rescaling_uses_one_gain_and_clips_to_the_image() -> None:
    boxes = torch.tensor([[12.0, 30.5, 62.0, 80.5], [-50.0, -50.0, 900.0, 900.0]])
    rescaled = rescale_to_original(boxes, size=(200, 300), gain=0.5, pad=(2.0, 10.5))
    assert rescaled.tolist() == [[20, 40, 120, 140], [0, 0, 300, 200]]
