"""The loop over batches: from images to detections, with the time of each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from compressor.data.batches import Batch, BatchPlan, fit_image_size, load_batches, plan_batches, plan_squares
from compressor.data.dataset import Sample
from compressor.errors import Diagnostic, InputError
from compressor.evaluation.boxes import rescale_to_original
from compressor.evaluation.diagnosis import check_finite
from compressor.evaluation.network import Network
from compressor.evaluation.nms import non_max_suppression
from compressor.evaluation.out_of_memory import Halving, enough_memory
from compressor.models.strides import image_step
from compressor.progress import Progress
from compressor.recipe.schema import Evaluation as Settings
from compressor.results.evaluation import Speed


@dataclass
class Stopwatch:
    """Seconds spent in each step, over all images."""

    device: torch.device
    preprocess: float = 0.0
    inference: float = 0.0
    nms: float = 0.0
    images: int = 0
    _last: float = field(default=0.0, repr=False)

    def start(self) -> None:
        """Begin to measure."""
        self._last = self._now()

    def lap(self) -> float:
        """Seconds since the last call of `start` or `lap`."""
        now = self._now()
        elapsed, self._last = now - self._last, now
        return elapsed

    def speed(self) -> Speed:
        """Milliseconds per image."""
        per_image = 1e3 / max(self.images, 1)
        return Speed(self.preprocess * per_image, self.inference * per_image, self.nms * per_image)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@dataclass(frozen=True)
class ImageDetections:
    """The detections in one image.

    Attributes:
        sample: the image and its labels.
        detections: (n, 6) float32 on the CPU: x1, y1, x2, y2 in pixels of the original image, score, class; best first.
        ratio: height and width of the resized image over the original's.
        pad: letterbox padding (dw, dh), not rounded.
        shape: height and width of the network input.
    """

    sample: Sample
    detections: Tensor
    ratio: tuple[float, float]
    pad: tuple[float, float]
    shape: tuple[int, int]


def select_device(name: str) -> torch.device:
    """The torch device of a name; `auto` is the first CUDA device if there is one, else the CPU.

    Raises:
        InputError: U903 this machine has no such device, or it is neither a CPU nor a CUDA device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        usable = device.type in ("cpu", "cuda")
        torch.empty(0, device=device if usable else "cpu")
    except (RuntimeError, AssertionError):
        usable = False
    if not usable:
        help_text = "use cpu, cuda, cuda:1 or auto"
        raise InputError(Diagnostic("U903", f"the device {name!r} cannot be used", "--device", help=help_text))
    return device


def detect(
    network: Network, samples: tuple[Sample, ...], settings: Settings, progress: Progress, title: str
) -> tuple[list[ImageDetections], Speed]:
    """Run a detector over images, in rectangular batches if it accepts them.

    Args:
        network: the detector.
        samples: the images.
        settings: thresholds, image and batch size.
        progress: receives every batch.
        title: of the progress bar.

    Returns:
        Detections per image in the order of the batches, and the time each step took.

    Raises:
        InputError: U909 the network takes only images of another size, or suppresses at other thresholds.
        RunError: E811 outputs are not finite; E812 the device has too little memory for a single image (a batch is
            halved as often as needed before).
        DatasetError: D405 an image cannot be decoded.
    """
    device = network.device
    image_size, plans = _planned(network, samples, settings)
    watch = Stopwatch(device)
    predict = partial(Halving(progress.warn, numbered=network.suppression is not None), network.predict)
    found: list[ImageDetections] = []
    message = f"{device} has too little memory for one image of {image_size} px"
    help_text = "evaluate on smaller images: --set evaluation.image_size=320, or evaluate --image-size 320"
    with torch.inference_mode(), progress.bar(title, "images") as update:
        if device.type == "cuda":
            network.predict(torch.zeros(1, 3, image_size, image_size, device=device, dtype=network.dtype))
        for batch in load_batches(plans, image_size, settings.resize):
            with enough_memory(message, help_text):
                found += _detect_batch(network, predict, batch, settings, watch)
            update(len(found), len(samples))
    return found, watch.speed()


def _detect_batch(
    network: Network, predict: Callable[[Tensor], Tensor], batch: Batch, settings: Settings, watch: Stopwatch
) -> list[ImageDetections]:
    watch.start()
    images = batch.images.to(network.device).to(network.dtype) / 255
    watch.preprocess += watch.lap()
    predictions = predict(images)
    check_finite(network, images, predictions, batch.samples)
    watch.inference += watch.lap()
    if network.suppression is not None:
        kept = _by_image(predictions, len(images), settings.max_det)
    else:
        kept = non_max_suppression(
            predictions, conf_thres=settings.conf_thres, iou_thres=settings.iou_thres, max_det=settings.max_det
        )
    watch.nms += watch.lap()
    watch.images += len(batch.samples)
    height, width = batch.images.shape[2:]
    return [
        _in_original_pixels(detections.cpu(), sample, ratio, pad, (height, width))
        for detections, sample, ratio, pad in zip(kept, batch.samples, batch.ratios, batch.pads, strict=True)
    ]


def _planned(network: Network, samples: tuple[Sample, ...], settings: Settings) -> tuple[int, tuple[BatchPlan, ...]]:
    """The image size and the batches for a network."""
    own = network.suppression
    if own is not None and (own.conf_thres, own.iou_thres) != (settings.conf_thres, settings.iou_thres):
        message = "non-maximum suppression is part of the file, with other thresholds"
        thresholds = f"--conf-thres {own.conf_thres} --iou-thres {own.iou_thres}"
        help_text = f"evaluate it with {thresholds}, or export without --nms"
        raise InputError(Diagnostic("U909", message, "--conf-thres", help=help_text))
    stride = image_step(network.strides)
    image_size = fit_image_size(settings.image_size, stride)
    batch_size = network.batch_size or settings.batch_size
    if network.image_size is None:
        return image_size, plan_batches(samples, image_size, batch_size, stride)
    if network.image_size != image_size:
        message = f"the file takes images of {network.image_size} px only, not of {image_size}"
        help_text = f"evaluate it with --image-size {network.image_size}, or export it again with --dynamic-size"
        raise InputError(Diagnostic("U909", message, "--image-size", help=help_text))
    return image_size, plan_squares(samples, image_size, batch_size)


def _by_image(rows: Tensor, images: int, max_det: int) -> list[Tensor]:
    """Split (n, 7) rows that begin with the number of their image into (m, 6) per image, best first."""
    found = [rows[rows[:, 0] == image, 1:] for image in range(images)]
    return [each[each[:, 4].argsort(descending=True, stable=True)[:max_det]] for each in found]


def _in_original_pixels(
    detections: Tensor,
    sample: Sample,
    ratio: tuple[float, float],
    pad: tuple[float, float],
    shape: tuple[int, int],
) -> ImageDetections:
    boxes = rescale_to_original(detections[:, :4], (sample.height, sample.width), ratio[0], pad)
    return ImageDetections(sample, torch.cat((boxes, detections[:, 4:]), dim=1), ratio, pad, shape)
