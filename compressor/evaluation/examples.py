"""A picture of the images in which two models differ most, with the boxes of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from compressor.data.dataset import Sample
from compressor.data.image_file import read_image
from compressor.evaluation.coco import Predictions

SHOWN_SCORE = 0.25  # as YOLOv5 detects
_SAME_IOU = 0.5
_WIDTH, _TALLEST, _GAP, _HEAD = 480, 360, 8, 26  # pixels: most of one picture, between two, and the line above them
_ALONE = (0, 80, 200)  # BGR, of boxes that one model gives alone
_SHARED = (((0, 0, 0), 2), ((255, 255, 255), 1))  # of those that both give: seen on any ground
_TEXT = 0.42  # size of the letters
_FONT = cv2.FONT_HERSHEY_SIMPLEX
Picture = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Found:
    """The detections of one model in one image.

    Attributes:
        boxes: (n, 4) left, top, width, height in pixels of the image.
        scores: (n,).
        classes: (n,).
        shared: (n,) whether the other model finds the same box and class.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int32]
    shared: NDArray[np.bool_]


def examples_png(
    samples: Sequence[Sample], image_ids: Sequence[int | str], before: Predictions, after: Predictions, count: int,
    names: Sequence[str],
) -> bytes | None:  # fmt: skip
    """The images with the most detections of one model alone, before and after, as one PNG file; None without any.

    Args:
        samples: images.
        image_ids: of the samples.
        before: detections of the model before the modifiers.
        after: of the model after them.
        count: how many images.
        names: class names.
    """
    old, new = _by_image(before), _by_image(after)
    pairs = [_told_apart(old[image_id], new[image_id]) for image_id in image_ids]
    difference = [sum(float(each.scores[~each.shared].sum()) for each in pair) for pair in pairs]
    order = sorted(range(len(samples)), key=lambda i: (-difference[i], i))[:count]
    rows = [_row(samples[i], pairs[i], names) for i in order if difference[i] > 0]
    if not rows:
        return None
    width = 2 * _WIDTH + 3 * _GAP
    head = np.full((_HEAD, width, 3), 255, np.uint8)
    for left, text in ((_GAP, "before"), (_WIDTH + 2 * _GAP, "after; orange: this model alone")):
        cv2.putText(head, text, (left, _HEAD - 8), _FONT, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return bytes(cv2.imencode(".png", np.concatenate((head, *rows)), (cv2.IMWRITE_PNG_COMPRESSION, 9))[1])


def _by_image(predictions: Predictions) -> dict[int | str, Found]:
    (places,) = (predictions.scores >= SHOWN_SCORE).nonzero()
    ends = np.searchsorted(predictions.image_index[places], np.arange(len(predictions.image_ids) + 1))
    found = {}
    for image_id, first, last in zip(predictions.image_ids, ends[:-1], ends[1:], strict=True):
        mine = places[first:last]
        nothing = np.zeros(len(mine), dtype=np.bool_)
        found[image_id] = Found(predictions.boxes[mine], predictions.scores[mine], predictions.classes[mine], nothing)
    return found


def _told_apart(a: Found, b: Found) -> tuple[Found, Found]:
    """Both with `shared` filled: each box of one matches at most one of the other, the best overlap first."""
    overlap = _iou(a.boxes, b.boxes) * (a.classes[:, None] == b.classes[None, :])
    in_a, in_b = a.shared.copy(), b.shared.copy()
    for _ in range(min(overlap.shape)):
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        if overlap[i, j] < _SAME_IOU:
            break
        in_a[i] = in_b[j] = True
        overlap[i, :] = overlap[:, j] = 0
    return replace(a, shared=in_a), replace(b, shared=in_b)


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m) IoU of boxes given as left, top, width, height."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    inside = (high - low).clip(min=0).prod(axis=2)
    areas = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None, :]
    return np.asarray(inside / np.maximum(areas - inside, np.finfo(np.float64).tiny))


def _row(sample: Sample, pair: tuple[Found, Found], names: Sequence[str]) -> Picture:
    image = read_image(sample.image, (sample.width, sample.height), sample.sha256)
    scale = min(_WIDTH / image.shape[1], _TALLEST / image.shape[0])
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    row = np.full((height + _GAP, 2 * _WIDTH + 3 * _GAP, 3), 255, np.uint8)
    for column, found in enumerate(pair):
        left = _GAP + column * (_WIDTH + _GAP)
        row[:height, left : left + width] = _drawn(small.copy(), found, scale, names)
    return row


def _drawn(image: Picture, found: Found, scale: float, names: Sequence[str]) -> Picture:
    """The image with its boxes, the best on top; boxes that the other model finds too are thin and have no text."""
    for i in np.lexsort((found.scores, ~found.shared)):
        left, top, width, height = (found.boxes[i] * scale).round().astype(int).tolist()
        corners = (left, top), (left + width, top + height)
        if found.shared[i]:
            for colour, thickness in _SHARED:
                cv2.rectangle(image, *corners, colour, thickness)
        else:
            cv2.rectangle(image, *corners, _ALONE, 2)
            name = names[found.classes[i]].encode("ascii", "replace").decode()[:20]
            _label(image, f"{name} {found.scores[i]:.2f}", left, top)
    return image


def _label(image: Picture, text: str, left: int, top: int) -> None:
    """Text on a filled bar above a box, moved into the image if it would lie outside."""
    (width, height), below = cv2.getTextSize(text, _FONT, _TEXT, 1)
    x = max(0, min(left, image.shape[1] - width - 4))
    y = max(top, height + below + 2)
    cv2.rectangle(image, (x, y - height - below - 2), (x + width + 4, y), _ALONE, cv2.FILLED)
    cv2.putText(image, text, (x + 2, y - below), _FONT, _TEXT, (255, 255, 255), 1, cv2.LINE_AA)
