"""Samples become batches: rectangular shapes planned ahead, images decoded ahead by a few threads."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.data.dataset import Sample
from compressor.data.image_file import read_image
from compressor.data.letterbox import Rounding, fitted_size, letterbox, resize_to_fit

LOOK_AHEAD = 2  # batches decoded while one is in use
_MOST_THREADS = 8
_LARGE = 16_000_000  # pixels; larger images are decoded one after another, or the threads would fill the memory
_TURN = Lock()

Pair = tuple[float, float]


@dataclass(frozen=True)
class BatchPlan:
    """Which samples share a batch, and its (H, W) in pixels."""

    samples: tuple[Sample, ...]
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Batch:
    """Images ready for the network.

    Attributes:
        images: uint8 (B, 3, H, W), RGB; channels last in memory.
        samples: what they were made from.
        ratios: per image, height and width after the resize over those before.
        pads: per image, padding (dw, dh) on each side in pixels, not rounded.
    """

    images: Tensor
    samples: tuple[Sample, ...]
    ratios: tuple[Pair, ...]
    pads: tuple[Pair, ...]


def fit_image_size(image_size: int, stride: int) -> int:
    """The image size, rounded up to a multiple of the network's stride."""
    return math.ceil(image_size / stride) * stride


def plan_batches(
    samples: Sequence[Sample], image_size: int, batch_size: int, stride: int, pad: float = 0.5
) -> tuple[BatchPlan, ...]:
    """Group images of like aspect ratio, so that each batch needs little padding.

    Images are taken by ascending height / width. Those of equal ratio come as numpy's sort leaves them, which may
    differ from processor to processor: upstream leaves them so, and its figures depend on which images share a batch.
    A batch's shape holds its tallest and its widest image.

    Args:
        samples: in any order; upstream's is by path.
        image_size: of the longer side in pixels, a multiple of `stride`.
        batch_size: images per batch; the last may hold fewer.
        stride: of the network, in pixels.
        pad: margin in strides; 0.5 is upstream's for validation.
    """
    order = np.argsort([_aspect(sample) for sample in samples])
    ordered = [samples[position] for position in order]
    groups = (tuple(ordered[start : start + batch_size]) for start in range(0, len(ordered), batch_size))
    return tuple(BatchPlan(group, _batch_shape(group, image_size, stride, pad)) for group in groups)


def plan_squares(samples: Sequence[Sample], image_size: int, batch_size: int) -> tuple[BatchPlan, ...]:
    """Group images in their order, for a network that takes only squares of `image_size` pixels."""
    groups = (tuple(samples[start : start + batch_size]) for start in range(0, len(samples), batch_size))
    return tuple(BatchPlan(group, (image_size, image_size)) for group in groups)


def _aspect(sample: Sample) -> float:
    return sample.height / sample.width


def _batch_shape(group: tuple[Sample, ...], image_size: int, stride: int, pad: float) -> tuple[int, int]:
    low, high = _aspect(group[0]), _aspect(group[-1])
    if high < 1:
        relative = (high, 1.0)
    elif low > 1:
        relative = (1.0, 1 / low)
    else:
        relative = (1.0, 1.0)
    height, width = (math.ceil(side * image_size / stride + pad) * stride for side in relative)
    return height, width


def geometry(sample: Sample, shape: tuple[int, int], image_size: int, rounding: Rounding) -> tuple[Pair, Pair]:
    """Ratios (height, width) and padding (dw, dh) of an image in its batch, as a `Batch` has them; nothing is read.

    Args:
        sample: the image.
        shape: of the batch, (H, W); it holds the resized image, as those do that were planned.
        image_size: as it was planned for.
        rounding: see `resize_to_fit`.
    """
    height, width = fitted_size(sample.height, sample.width, image_size, rounding)
    return (height / sample.height, width / sample.width), ((shape[1] - width) / 2, (shape[0] - height) / 2)


def load_batches(plans: Sequence[BatchPlan], image_size: int, rounding: Rounding) -> Iterator[Batch]:
    """Decode, resize and pad the planned batches, in order.

    Threads work at most two batches ahead; closing the iterator stops them.

    Args:
        plans: as `plan_batches` made them.
        image_size: as they were planned for.
        rounding: how a resized side becomes whole; see `resize_to_fit`.

    Raises:
        DatasetError: D405 an image cannot be decoded; D430 it is not the one that was checked.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="compressor-images")
    pending: deque[_Pending] = deque()
    try:
        for plan in plans:
            pending.append(_Pending(plan, pool, image_size, rounding))
            if len(pending) > LOOK_AHEAD:
                yield pending.popleft().batch()
        while pending:
            yield pending.popleft().batch()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Pending:
    """A batch whose images threads are filling in."""

    def __init__(self, plan: BatchPlan, pool: ThreadPoolExecutor, image_size: int, rounding: Rounding) -> None:
        self._samples = plan.samples
        self._images = np.empty((len(plan.samples), *plan.shape, 3), np.uint8)
        self._geometry: list[Future[tuple[Pair, Pair]]] = [
            pool.submit(_load_into, out, sample, image_size, rounding)
            for out, sample in zip(self._images, plan.samples, strict=True)
        ]

    def batch(self) -> Batch:
        """Wait for the images."""
        geometry = [future.result() for future in self._geometry]
        ratios, pads = tuple(ratio for ratio, _ in geometry), tuple(pad for _, pad in geometry)
        return Batch(torch.from_numpy(self._images).permute(0, 3, 1, 2), self._samples, ratios, pads)


def _load_into(out: NDArray[np.uint8], sample: Sample, image_size: int, rounding: Rounding) -> tuple[Pair, Pair]:
    """Fill (H, W, 3) with the image in RGB; returns its ratios (height, width) and padding (dw, dh)."""
    with _TURN if sample.width * sample.height > _LARGE else nullcontext():
        image = resize_to_fit(
            read_image(sample.image, (sample.width, sample.height), sample.sha256), image_size, rounding
        )
    ratio = image.shape[0] / sample.height, image.shape[1] / sample.width
    padded, pad = letterbox(image, (out.shape[0], out.shape[1]))
    cv2.cvtColor(padded, cv2.COLOR_BGR2RGB, dst=out)
    return ratio, pad
