"""Between which figures YOLOv5's own metric lies, from detections whose scores were rounded and so can be equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.data.batches import fit_image_size, geometry, plan_batches
from compressor.evaluation.coco import Predictions
from compressor.evaluation.detection_metrics import per_class
from compressor.evaluation.evaluate import Evaluator, OwnMatches, own_matches
from compressor.evaluation.predict import ImageDetections
from compressor.results.evaluation import Metrics

_TIE = 2.5e-6  # less than half of what scores are rounded to
_MEAN, _CLASS = 5e-4, 0.02  # where a rounded box crosses an IoU threshold; more in a class of few objects


@dataclass(frozen=True, eq=False)
class Bounds:
    """AP of every class that has labels, for the best and the worst order of equal scores.

    Attributes:
        low: (c, t) at each IoU threshold, 0.50 first.
        high: likewise.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def as_found(evaluator: Evaluator, predictions: Predictions, stride: int) -> list[ImageDetections]:
    """The detections as the network gave them, which saw every image in its place in a batch, but for the rounding.

    Args:
        evaluator: of the data, with the settings of the run.
        predictions: as they were written.
        stride: of the network, in pixels.
    """
    settings, samples = evaluator.settings, evaluator.split.samples
    size = fit_image_size(settings.image_size, stride)
    plans = plan_batches(samples, size, settings.batch_size, stride)
    shapes = {sample.image: plan.shape for plan in plans for sample in plan.samples}
    ends = np.searchsorted(predictions.image_index, np.arange(len(samples) + 1))
    found = []
    for sample, first, last in zip(samples, ends[:-1], ends[1:], strict=True):
        boxes = predictions.boxes[first:last]
        corners = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
        scores, classes = predictions.scores[first:last, None], predictions.classes[first:last, None]
        detections = torch.from_numpy(np.concatenate((corners, scores, classes), axis=1).astype(np.float32))
        shape = shapes[sample.image]
        found.append(ImageDetections(sample, detections, *geometry(sample, shape, size, settings.resize), shape))
    return found


def bounds(found: list[ImageDetections]) -> Bounds:
    """Between which figures the APs of detections lie whose scores are rounded."""
    matches = own_matches(found)
    return Bounds(_average_precisions(matches, -_TIE), _average_precisions(matches, _TIE))


def _average_precisions(matches: OwnMatches, favour: float) -> NDArray[np.float64]:
    """(c, t), with what is right moved by `favour` among equal scores."""
    scores = matches.scores.astype(np.float64)
    columns = [
        per_class(true[:, None], scores + favour * true, matches.classes, matches.targets).AP[:, 0]
        for true in matches.true.T
    ]
    return np.stack(columns, axis=1)


def wrong_own_metric(found: Bounds, stated: Metrics) -> Iterator[str]:
    """APs of YOLOv5's own metric that these detections cannot have."""
    if len(stated.classes) != len(found.low):
        return  # which another check finds
    for name, of_class, part in (("mAP50", "AP50", slice(0, 1)), ("mAP50_95", "AP50_95", slice(None))):
        low, high = (each[:, part].mean(axis=1) for each in (found.low, found.high))
        for i, each in enumerate(stated.classes):
            value = getattr(each, of_class)
            if not low[i] - _CLASS <= value <= high[i] + _CLASS:
                yield f"{of_class} of {each.name} lies from {low[i]:.4f} to {high[i]:.4f}, recorded is {value:.4f}"
        mean = getattr(stated.detection, name)
        if mean is not None and len(low) and not low.mean() - _MEAN <= mean <= high.mean() + _MEAN:
            yield f"{name} lies from {low.mean():.4f} to {high.mean():.4f}, recorded is {mean:.4f}"
