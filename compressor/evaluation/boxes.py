"""Arithmetic on boxes, all in float32: the figures of an evaluation depend on its last bit.

`xyxy` is left, top, right, bottom; `xywh` is centre x, centre y, width, height; pixels unless said otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre and size to corners; (..., 4) in and out."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Corners to centre and size; (..., 4) in and out."""
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((top_left + bottom_right) / 2, bottom_right - top_left), dim=-1)


def rescale_to_original(boxes: Tensor, size: tuple[int, int], gain: float, pad: tuple[float, float]) -> Tensor:
    """Boxes in the letterboxed network input to boxes in the original image, clipped to it.

    x = (x - pad x) / gain and y = (y - pad y) / gain. Upstream uses the height's gain for both axes and the padding
    before it was rounded to whole pixels; its figures need both.

    Args:
        boxes: (n, 4) xyxy in the network input.
        size: (height, width) of the original image.
        gain: height of the resized image / height of the original.
        pad: (left, top) padding, unrounded.

    Returns:
        (n, 4) xyxy within [0, width] x [0, height].
    """
    height, width = size
    x = ((boxes[:, 0::2] - pad[0]) / gain).clamp(0, width)
    y = ((boxes[:, 1::2] - pad[1]) / gain).clamp(0, height)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
