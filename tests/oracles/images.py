"""Where a picture comes to lie in a batch; pixels are resized by OpenCV, as YOLOv5's are."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Pair = tuple[float, float]
GREY = 114


def letterbox(image: Image, shape: tuple[int, int]) -> tuple[Image, Pair]:
    """The picture (H, W, 3) within `shape`, never enlarged, and half of the padding in x and y, not rounded."""
    height, width = image.shape[:2]
    scale = min(shape[0] / height, shape[1] / width, 1.0)
    inner = (round(width * scale), round(height * scale))
    dw, dh = (shape[1] - inner[0]) / 2, (shape[0] - inner[1]) / 2
    scaled: Any = image if inner == (width, height) else cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    top, left = round(dh - 0.1), round(dw - 0.1)
    canvas = np.full((*shape, 3), GREY, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas, (dw, dh)


def batches(
    sizes: list[tuple[int, int]], image_size: int, batch_size: int, stride: int, pad: float
) -> list[tuple[tuple[int, int], list[int]]]:
    """The (height, width) of each batch and the pictures in it, of pictures by (width, height)."""
    by_ratio = sorted(range(len(sizes)), key=lambda i: sizes[i][1] / sizes[i][0])
    found = []
    for start in range(0, len(sizes), batch_size):
        members = by_ratio[start : start + batch_size]
        ratios = [sizes[i][1] / sizes[i][0] for i in members]
        rows, columns = 1.0, 1.0
        if max(ratios) < 1:
            rows = max(ratios)
        elif min(ratios) > 1:
            columns = 1 / min(ratios)
        shape = tuple(math.ceil(side * image_size / stride + pad) * stride for side in (rows, columns))
        found.append(((shape[0], shape[1]), members))
    return found


def loaded(image: Image, shape: tuple[int, int], image_size: int) -> tuple[Image, Pair, Pair]:
    """A picture (H, W, 3) in BGR as a batch has it: (3, H', W') in RGB, ratios in y and x, padding in x and y."""
    height, width = image.shape[:2]
    scale = image_size / max(height, width)
    if scale != 1:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        smaller: Any = cv2.resize(image, (int(width * scale), int(height * scale)), interpolation=way)
    else:
        smaller = image
    padded, pad = letterbox(smaller, shape)
    ratios = (smaller.shape[0] / height, smaller.shape[1] / width)
    return np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1)), ratios, pad
