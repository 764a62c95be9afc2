"""Images brought to the network's size: resized to fit, then padded with grey to a rectangle of whole strides."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3)
Rounding = Literal["floor", "ceil"]  # releases up to v7.0 cut the resized size off; upstream's later code rounds it up

GREY = (114, 114, 114)


def resize_to_fit(image: Image, image_size: int, rounding: Rounding) -> Image:
    """Scale an image, up or down, so that its longer side is `image_size`.

    Shrinks with area averaging and enlarges bilinearly, as upstream's validation does.

    Args:
        image: (H, W, 3).
        image_size: pixels.
        rounding: how a fractional side becomes whole.

    Returns:
        (H', W', 3), no side below 1; the image itself where nothing changes.
    """
    size = fitted_size(image.shape[0], image.shape[1], image_size, rounding)
    ratio = image_size / max(image.shape[:2])
    return image if ratio == 1 else _resize(image, size[::-1], cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)


def fitted_size(height: int, width: int, image_size: int, rounding: Rounding) -> tuple[int, int]:
    """Height and width that `resize_to_fit` gives an image of `height` and `width`."""
    ratio = image_size / max(height, width)
    if ratio == 1:
        return height, width
    whole = int if rounding == "floor" else math.ceil
    return max(whole(height * ratio), 1), max(whole(width * ratio), 1)


def letterbox(image: Image, shape: tuple[int, int]) -> tuple[Image, tuple[float, float]]:
    """Centre an image in a grey rectangle, shrunk to fit where it has to be.

    Args:
        image: (h, w, 3).
        shape: the rectangle's height and width.

    Returns:
        The padded image; the padding (dw, dh) on each side, not rounded: where it ends in a half, one pixel more stands
        at the right or the bottom.
    """
    (height, width), (to_height, to_width) = image.shape[:2], shape
    ratio = min(to_height / height, to_width / width, 1.0)
    size = (max(round(width * ratio), 1), max(round(height * ratio), 1))
    dw, dh = (to_width - size[0]) / 2, (to_height - size[1]) / 2
    image = image if size == (width, height) else _resize(image, size, cv2.INTER_LINEAR)
    return _pad(image, dw, dh), (dw, dh)


def _pad(image: Image, dw: float, dh: float) -> Image:
    top, bottom, left, right = round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1)
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=GREY)
    return padded.astype(np.uint8, copy=False)


def _resize(image: Image, size: tuple[int, int], interpolation: int) -> Image:
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)
