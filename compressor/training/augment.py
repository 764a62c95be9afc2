"""Training augmentations: mosaic, random perspective, mixup, colours and flips, all driven by one numpy Generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from compressor.data.letterbox import Image

Matrix = NDArray[np.float64]  # (3, 3), acts on column vectors (x, y, 1)

_GREY = 114


@dataclass(frozen=True)
class AugmentSettings:
    """Ranges and probabilities; the defaults are upstream's `hyp.scratch-low`.

    Attributes:
        hsv_h: largest change of the hue, as a fraction of itself.
        hsv_s: the same of the saturation.
        hsv_v: the same of the value.
        degrees: largest rotation.
        translate: largest shift, as a fraction of the output.
        scale: largest change of the size, as a fraction.
        shear: largest shear in degrees.
        perspective: largest entry of the projective part, per pixel.
        flipud: probability of an up-down flip.
        fliplr: probability of a left-right flip.
        mosaic: probability of a mosaic of four images.
        mixup: probability of blending two mosaics.
    """

    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    flipud: float = 0.0
    fliplr: float = 0.5
    mosaic: float = 1.0
    mixup: float = 0.0


@dataclass(frozen=True)
class Example:
    """One image and its objects.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        classes: (n,) int64.
        boxes: (n, 4) float64, x1, y1, x2, y2 in pixels.
    """

    image: Image
    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]


def augment(
    index: int, count: int, load: Callable[[int], Example], settings: AugmentSettings, size: int, random: Generator
) -> Example:
    """One square training image of `size` px made from image `index`.

    Args:
        index: which image.
        count: how many images there are to mix with.
        load: reads image i, its longer side `size` px.
        settings: what may happen.
        size: side of the result in pixels.
        random: source of all choices.
    """
    if random.random() < settings.mosaic:
        example = _mosaic_around(index, count, load, settings, size, random)
        if random.random() < settings.mixup:
            other = _mosaic_around(int(random.integers(count)), count, load, settings, size, random)
            example = mixup(example, other, random.beta(32.0, 32.0))
    else:
        example = random_perspective(pad_to_square(load(index), size), settings, size, random)
    gains = 1 + random.uniform(-1, 1, 3) * (settings.hsv_h, settings.hsv_s, settings.hsv_v)
    example = Example(scale_hsv(example.image, gains), example.classes, example.boxes)
    if random.random() < settings.flipud:
        example = flip_up_down(example)
    return flip_left_right(example) if random.random() < settings.fliplr else example


def _mosaic_around(
    index: int, count: int, load: Callable[[int], Example], settings: AugmentSettings, size: int, random: Generator
) -> Example:
    chosen = random.permutation(np.array([index, *random.integers(count, size=3)]))
    centre = random.integers(size // 2, 3 * size // 2 + 1, 2)
    canvas = mosaic([load(int(i)) for i in chosen], size, (int(centre[0]), int(centre[1])))
    return random_perspective(canvas, settings, size, random)


def mosaic(examples: list[Example], size: int, centre: tuple[int, int]) -> Example:
    """Four images around one point of a grey canvas of 2 size x 2 size px; what reaches beyond is cut off.

    Args:
        examples: top left, top right, bottom left, bottom right.
        size: half the canvas.
        centre: x and y of the point.
    """
    canvas = np.full((2 * size, 2 * size, 3), _GREY, np.uint8)
    boxes = []
    for place, example in enumerate(examples):
        height, width = example.image.shape[:2]
        left = centre[0] - width * (place % 2 == 0)
        top = centre[1] - height * (place < 2)
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, 2 * size), min(top + height, 2 * size)
        canvas[y1:y2, x1:x2] = example.image[y1 - top : y2 - top, x1 - left : x2 - left]
        boxes.append((example.boxes + np.array([left, top, left, top])).clip(0, 2 * size))
    return Example(canvas, np.concatenate([example.classes for example in examples]), np.concatenate(boxes))


def pad_to_square(example: Example, size: int) -> Example:
    """The image in the middle of a grey square of `size` px; neither side may be longer."""
    height, width = example.image.shape[:2]
    left, top = (size - width) // 2, (size - height) // 2
    canvas = np.full((size, size, 3), _GREY, np.uint8)
    canvas[top : top + height, left : left + width] = example.image
    return Example(canvas, example.classes, example.boxes + np.array([left, top, left, top]))


def random_perspective(example: Example, settings: AugmentSettings, size: int, random: Generator) -> Example:
    """Turn, scale, shear, shift and tilt about the middle, and cut out the middle `size` x `size` px."""
    height, width = example.image.shape[:2]
    scale = random.uniform(1 - settings.scale, 1 + settings.scale)
    matrix = _perspective_matrix(width, height, settings, size, scale, random)
    border = (_GREY, _GREY, _GREY)
    if settings.perspective:
        image = cv2.warpPerspective(example.image, matrix, (size, size), borderValue=border)
    else:
        image = cv2.warpAffine(example.image, matrix[:2], (size, size), borderValue=border)
    boxes = transform_boxes(example.boxes, matrix, size)
    keep = _large_enough(example.boxes * scale, boxes)
    return Example(image.astype(np.uint8, copy=False), example.classes[keep], boxes[keep])


def _perspective_matrix(
    width: int, height: int, settings: AugmentSettings, size: int, scale: float, random: Generator
) -> Matrix:
    """T S R P C: centre, tilt, turn and scale, shear, shift."""
    centre, tilt, shear, shift = (np.eye(3) for _ in range(4))
    centre[:2, 2] = -width / 2, -height / 2
    tilt[2, :2] = random.uniform(-settings.perspective, settings.perspective, 2)
    turn = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D((0, 0), random.uniform(-settings.degrees, settings.degrees), scale)
    shear[0, 1], shear[1, 0] = (math.tan(math.radians(a)) for a in random.uniform(-settings.shear, settings.shear, 2))
    shift[:2, 2] = random.uniform(0.5 - settings.translate, 0.5 + settings.translate, 2) * size
    return shift @ shear @ turn @ tilt @ centre


def transform_boxes(boxes: NDArray[np.float64], matrix: Matrix, size: int) -> NDArray[np.float64]:
    """Upright boxes around the transformed corners, cut off at a square of `size` px.

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        matrix: (3, 3) projective map of pixels.
        size: side of the square.
    """
    corners = boxes[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 2)
    homogeneous = np.column_stack((corners, np.ones(len(corners)))) @ matrix.T
    moved = (homogeneous[:, :2] / homogeneous[:, 2:]).reshape(-1, 4, 2)
    return np.concatenate((moved.min(axis=1), moved.max(axis=1)), axis=1).clip(0, size)


def _large_enough(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a box kept more than 2 px a side, a tenth of its area, and an aspect ratio below 100."""
    width_before, height_before = (before[:, 2:] - before[:, :2]).T
    width, height = (after[:, 2:] - after[:, :2]).T
    visible = width * height / (width_before * height_before + 1e-16) > 0.1
    ratio = np.maximum(width / (height + 1e-16), height / (width + 1e-16))
    keep: NDArray[np.bool_] = (width > 2) & (height > 2) & visible & (ratio < 100)
    return keep


def mixup(first: Example, second: Example, share: float) -> Example:
    """Both images blended, `share` of the first, with the objects of both (Zhang et al. 2017, arXiv:1710.09412)."""
    image = (first.image * share + second.image * (1 - share)).astype(np.uint8)
    classes = np.concatenate((first.classes, second.classes))
    return Example(image, classes, np.concatenate((first.boxes, second.boxes)))


def scale_hsv(image: Image, gains: NDArray[np.float64]) -> Image:
    """Multiply hue (cyclic), saturation and value (both clipped) by three gains; 8 bits throughout."""
    levels = np.arange(256)
    tables = (
        (levels * gains[0] % 180).astype(np.uint8),
        (levels * gains[1]).clip(0, 255).astype(np.uint8),
        (levels * gains[2]).clip(0, 255).astype(np.uint8),
    )
    channels = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    changed = cv2.merge([cv2.LUT(channel, table) for channel, table in zip(channels, tables, strict=True)])
    return cv2.cvtColor(changed, cv2.COLOR_HSV2BGR).astype(np.uint8, copy=False)


def flip_left_right(example: Example) -> Example:
    """Mirror the columns."""
    width = example.image.shape[1]
    x1, y1, x2, y2 = example.boxes.T
    boxes = np.stack((width - x2, y1, width - x1, y2), axis=1)
    return Example(np.ascontiguousarray(example.image[:, ::-1]), example.classes, boxes)


def flip_up_down(example: Example) -> Example:
    """Mirror the rows."""
    height = example.image.shape[0]
    x1, y1, x2, y2 = example.boxes.T
    boxes = np.stack((x1, height - y2, x2, height - y1), axis=1)
    return Example(np.ascontiguousarray(example.image[::-1]), example.classes, boxes)
