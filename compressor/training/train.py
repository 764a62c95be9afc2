"""The training loop: images in, the moving average of the model out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from compressor.data.dataset import Sample
from compressor.data.image_file import read_image
from compressor.errors import DatasetError, Diagnostic, RunError
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.models.losses import LossSettings
from compressor.training.augment import AugmentSettings, Example, augment
from compressor.training.optimiser import Ema, OptimiserSettings, Schedule, build_optimiser, optimiser_step


@dataclass(frozen=True)
class Hyperparameters:
    """Everything upstream keeps in a hyp file; the defaults are its `hyp.scratch-low`."""

    loss: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)


@dataclass(frozen=True)
class EpochLosses:
    """Means over one epoch's batches, with their gains.

    Attributes:
        epoch: counted from 1.
        epochs: epochs in all.
        duration_s: wall time of the epoch in seconds.
    """

    epoch: int
    epochs: int
    box: float
    obj: float
    cls: float
    duration_s: float


@dataclass(frozen=True)
class Course:
    """How long and on what batches a model is trained.

    Attributes:
        epochs: passes over the samples.
        batch_size: images per batch.
        image_size: side of the square training images in pixels; a multiple of the largest stride.
        seed: of the order of the images and of every augmentation.
        plain_epochs: how many of the last epochs do without mosaic and mixup.
    """

    epochs: int
    batch_size: int
    image_size: int
    seed: int = 0
    plain_epochs: int = 0

    def augmentation(self, settings: AugmentSettings, epoch: int) -> AugmentSettings:
        """The augmentations of an epoch, which is counted from 0."""
        plain = epoch >= self.epochs - self.plain_epochs
        return replace(settings, mosaic=0.0, mixup=0.0) if plain else settings


def train(
    model: Detector,
    samples: Sequence[Sample],
    hyp: Hyperparameters,
    course: Course,
    progress: Callable[[EpochLosses], None] = lambda _losses: None,
) -> Detector:
    """Train the model in place and return the moving average of its weights, in evaluation mode.

    The same model, samples and seed give the same weights on the same machine and thread count.

    Args:
        model: not fused.
        samples: what to train on; the decoded images stay in memory.
        hyp: losses, optimiser and augmentations.
        course: how long, and on what batches.
        progress: called after every epoch.

    Raises:
        DatasetError: D405 an image cannot be read; D490 there is none.
        RunError: E830 the loss is no longer finite.
    """
    if not samples:
        raise DatasetError(Diagnostic("D490", "there is no image to train on", help="name a split with images"))
    images = _Images(samples, course.image_size)
    family = family_of(model)
    family.prepare_training(model)
    # Convolutions of a few channels run a third faster on a CPU with the channels innermost.
    model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = hyp.loss.scaled(len(model.strides), len(model.names), course.image_size)
    optimiser = build_optimiser(model, hyp.optimiser, course.batch_size)
    schedule = Schedule(hyp.optimiser, course.epochs, -(-len(samples) // course.batch_size), course.batch_size)
    ema = Ema(model)
    iteration, stepped = 0, -1
    for epoch in range(course.epochs):
        started, terms = time.perf_counter(), []
        augmentation = course.augmentation(hyp.augment, epoch)
        for pixels, targets in _batches(images, augmentation, course.batch_size, (course.seed, epoch)):
            schedule.apply(optimiser, iteration)
            loss = family.loss(model, model(pixels), targets, settings)
            loss.total.backward()  # type: ignore[no-untyped-call]
            if iteration - stepped >= schedule.accumulate(iteration):
                optimiser_step(model, optimiser, hyp.optimiser.clip_norm)
                ema.update(model)
                stepped = iteration
            terms.append(torch.stack((loss.box, loss.obj, loss.cls)))
            iteration += 1
        box, obj, cls = _finite_mean(terms, epoch + 1)
        progress(EpochLosses(epoch + 1, course.epochs, box, obj, cls, time.perf_counter() - started))
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return ema.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]


def _finite_mean(terms: list[Tensor], epoch: int) -> list[float]:
    mean = torch.stack(terms).mean(dim=0)
    if not mean.isfinite().all():
        help_text = "lower optimiser.lr0, or train more images per batch"
        raise RunError(Diagnostic("E830", f"the loss is no longer finite in epoch {epoch}", help=help_text))
    values: list[float] = mean.tolist()
    return values


class _Images:
    """The samples as examples, decoded and resized once."""

    def __init__(self, samples: Sequence[Sample], image_size: int) -> None:
        self._samples = samples
        self.image_size = image_size
        self._examples: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def __call__(self, index: int) -> Example:
        if index not in self._examples:
            self._examples[index] = load_example(self._samples[index], self.image_size)
        return self._examples[index]


def load_example(sample: Sample, image_size: int) -> Example:
    """The sample with its longer side resized to `image_size` px.

    Raises:
        DatasetError: D405 the image cannot be read.
    """
    image = read_image(sample.image, (sample.width, sample.height))
    scale = image_size / max(sample.width, sample.height)
    width, height = int(sample.width * scale), int(sample.height * scale)
    if scale != 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    centre, size = sample.labels[:, 1:3].astype(np.float64), sample.labels[:, 3:5].astype(np.float64)
    boxes = np.concatenate((centre - size / 2, centre + size / 2), axis=1) * (width, height, width, height)
    return Example(image, sample.labels[:, 0].astype(np.int64), boxes)


def _batches(
    images: _Images, settings: AugmentSettings, batch_size: int, seed: tuple[int, int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images once, shuffled: pixels (B, 3, H, W) in [0, 1], and targets as `detection_loss` takes them."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(images))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield collate([augment(int(i), len(images), images, settings, images.image_size, random) for i in chosen])


def collate(examples: list[Example]) -> tuple[Tensor, Tensor]:
    """Examples of one square size to pixels (B, 3, H, W) in [0, 1], RGB, and targets (n, 6).

    Target rows are image index, class, centre x, centre y, width, height; coordinates are fractions of the image.
    """
    stacked = np.stack([example.image[..., ::-1] for example in examples])  # (B, H, W, 3), which is channels last
    pixels = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
    rows = [_targets(index, example) for index, example in enumerate(examples)]
    return pixels, torch.from_numpy(np.concatenate(rows))


def _targets(index: int, example: Example) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    size = example.image.shape[0]
    low, high = example.boxes[:, :2], example.boxes[:, 2:]
    head = np.column_stack((np.full(len(low), index), example.classes))
    return np.concatenate((head, (low + high) / 2 / size, (high - low) / size), axis=1).astype(np.float32)
