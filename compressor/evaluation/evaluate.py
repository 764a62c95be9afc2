"""Evaluates a model on a data set: the protocol from detections to the figures of an `Evaluation`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.data.batches import fit_image_size
from compressor.data.dataset import Sample, Split, file_sha256
from compressor.data.image_file import changed
from compressor.errors import DatasetError, Diagnostic
from compressor.evaluation.annotated import boxes_as_labels, ground_truth_from_annotations
from compressor.evaluation.bootstrap import resample
from compressor.evaluation.boxes import rescale_to_original, xywh_to_xyxy
from compressor.evaluation.coco import (
    GroundTruth,
    Predictions,
    ground_truth_from_labels,
    to_predictions,
)
from compressor.evaluation.coco_engine import evaluate_coco
from compressor.evaluation.coco_figures import CocoFigures, coco_metrics, precision_by_recall
from compressor.evaluation.detection_metrics import per_class, summarise
from compressor.evaluation.matching import IOU_THRESHOLDS, match
from compressor.evaluation.network import Network, inference_network
from compressor.evaluation.predict import ImageDetections, detect
from compressor.models.detector import Detector
from compressor.models.strides import image_step
from compressor.progress import Progress
from compressor.recipe.schema import Evaluation as Settings
from compressor.results.evaluation import (
    METHOD,
    ClassMetrics,
    DataSummary,
    DetectionMetrics,
    Evaluation,
    EvaluationSettings,
    Metrics,
)

METRICS_STEP = "COCO metrics"  # of every evaluation, in the account of where the time went


@dataclass(frozen=True)
class Evaluator:
    """A data set, its ground truth and the settings; evaluates one model after another.

    Attributes:
        split: the images.
        ground_truth: what they hold.
        settings: the recipe's `evaluation` section.
        device: where models run.
    """

    split: Split
    ground_truth: GroundTruth
    settings: Settings
    device: torch.device

    def evaluate(
        self, model: Detector | Network, progress: Progress, title: str, *, resampled: bool = False
    ) -> tuple[Evaluation, Predictions]:
        """Evaluate a model or another detector; with `resampled` also on many random draws of the images.

        Raises:
            RunError: E811 the model's outputs are not finite.
        """
        network = model if isinstance(model, Network) else self.network(model)
        found, speed = detect(network, self.split.samples, self.settings, progress, title)
        with progress.step(METRICS_STEP):
            ids = dict(zip((sample.image for sample in self.split.samples), self.ground_truth.image_ids, strict=True))
            predictions = to_predictions([image.detections for image in found], [ids[i.sample.image] for i in found])
            metrics, figures = self.metrics(found, predictions, network.names)
            draws = resample(figures) if resampled else None
        curve = precision_by_recall(figures)
        return Evaluation(metrics, speed, *self.way(network), draws, curve), predictions

    def way(self, network: Network) -> tuple[DataSummary, EvaluationSettings]:
        """The data and the settings that a network is evaluated with."""
        return self.summary(), self._settings(network)

    def metrics(
        self, found: list[ImageDetections], predictions: Predictions, names: tuple[str, ...]
    ) -> tuple[Metrics, CocoFigures]:
        """All figures of the detections, and COCO's figures with the matches behind them.

        Args:
            found: the detections, for YOLOv5's own metric.
            predictions: the same detections in COCO's format.
            names: class names of the model.
        """
        detection, classes = own_metrics(found, names)
        figures = evaluate_coco(self.ground_truth, predictions, self.settings.coco_engine)
        return Metrics(coco_metrics(figures), detection, classes), figures

    @property
    def facts(self) -> dict[str, Any]:
        """See `facts_of`; and the warnings that a result holds about the data."""
        return {**facts_of(self.split, self.settings), "notes": ascii(self.warnings)}

    def network(self, model: Detector) -> Network:
        """A copy of the model, prepared for evaluation."""
        return inference_network(model, self.device, self.settings.precision)

    def _settings(self, network: Network) -> EvaluationSettings:
        asked = self.settings
        return EvaluationSettings(
            image_size=asked.image_size,
            batch_size=network.batch_size or asked.batch_size,
            conf_thres=asked.conf_thres,
            iou_thres=asked.iou_thres,
            max_det=asked.max_det,
            resize=asked.resize,
            device=str(network.device),
            precision=str(network.dtype).removeprefix("torch."),
            runs_on=network.runs_on,
            coco_engine=asked.coco_engine,
            shapes="rectangles" if network.image_size is None else "squares",
            used_size=fit_image_size(asked.image_size, image_step(network.strides)),
            most_per_class=network.suppression.max_det if network.suppression else None,
            method=METHOD,
        )

    def summary(self) -> DataSummary:
        """The data that models are evaluated on."""
        counts = [len(sample.labels) for sample in self.split.samples]
        annotations = self.split.dataset.annotations
        objects = self.ground_truth.objects
        crowds = int(objects.crowds.sum())
        return DataSummary(
            source=self.split.dataset.source,
            split=self.split.name,
            images=len(counts),
            instances=sum(counts),
            backgrounds=counts.count(0),
            skipped=self.notes,
            ground_truth=annotations.name if annotations else "labels",
            sha256=self.split.sha256,
            names=self.split.dataset.names,
            objects=len(objects) - crowds,
            crowds=crowds,
            not_evaluated=self.ground_truth.not_evaluated,
            with_objects=len(np.unique(objects.images[~objects.crowds])),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for everything that was left out or corrected, or looks wrong."""
        return (*self.ground_truth.notes, *self.split.skipped)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that a reader of the figures should know about the data, objects that are in no figure first."""
        return (*map(str, self.ground_truth.not_evaluated), *self.notes)

    def part(self, images: int) -> Evaluator:
        """An evaluator of the first images only."""
        if images >= len(self.split.samples):
            return self
        split = replace(self.split, samples=self.split.samples[:images])
        return replace(self, split=split, ground_truth=self.ground_truth.first(images))


def make_evaluator(split: Split, settings: Settings, device: torch.device) -> Evaluator:
    """An evaluator with ground truth from the data set's COCO annotations if it names them, else from its labels.

    Raises:
        DatasetError: D406, D407, D408 the annotations are wrong; D420 none of the objects can be evaluated.
    """
    annotations, names = split.dataset.annotations, split.dataset.names
    if annotations is None:
        truth = replace(ground_truth_from_labels(split.samples, names), not_evaluated=split.not_evaluated)
    else:
        truth = ground_truth_from_annotations(annotations, split.samples, names, split.left_out)
        samples = boxes_as_labels(truth, split.samples)
        truth = replace(truth, notes=(*truth.notes, *_notes_of_labels(samples, truth)))
        split = replace(split, samples=tuple(samples))
        if split.annotations_sha256 not in (None, file_sha256(annotations)):
            raise changed(annotations, "file of annotations")
    _check_some_remain(truth, split)
    return Evaluator(split, truth, settings, device)


def _notes_of_labels(samples: Sequence[Sample], truth: GroundTruth) -> Iterator[str]:
    """Warnings where YOLOv5's own metric uses other objects than the COCO figures, which use the annotations."""
    unlabelled = sum(not sample.labelled for sample in samples)
    taken = sum(len(sample.labels) for sample in samples if not sample.labelled)
    if taken:
        yield (
            f"{unlabelled:,} images have no label file: YOLOv5's own metric uses their {taken:,} objects in the "
            "annotations"
        )
    objects, labels = len(truth.objects) - int(truth.objects.crowds.sum()), sum(len(each.labels) for each in samples)
    if objects != labels:
        yield (
            f"the COCO figures use the {objects:,} objects of the annotations, YOLOv5's own metric uses {labels:,} of "
            "the label files"
        )


def _check_some_remain(truth: GroundTruth, split: Split) -> None:
    left = [each for each in truth.not_evaluated if each.reason != "image not in split"]
    if not left or not truth.objects.crowds.all():
        return
    place = split.dataset.annotations or split.dataset.source
    message = f"none of the objects can be evaluated: {'; '.join(map(str, left))}"
    help_text = "correct them, so that each object has an image of the split and a class of the data set"
    raise DatasetError(Diagnostic("D420", message, str(place), help=help_text))


def facts_of(split: Split, settings: Settings) -> dict[str, Any]:
    """Everything that an evaluation depends on except the network and its environment, as data for JSON.

    The class names decide which objects count, and the result holds the name of the data.
    """
    return {
        "data": split.identity,
        "described": ascii(split.dataset),  # paths need not be UTF-8
        "images": len(split.samples),
        "split": split.name,
        "settings": settings.model_dump(mode="json"),
    }


@dataclass(frozen=True, eq=False)
class OwnMatches:
    """The detections of all images, matched to labels as YOLOv5 does.

    Attributes:
        true: (n, t) true positives at each IoU threshold.
        scores: (n,).
        classes: (n,) of the detections.
        targets: (m,) classes of the labels.
        images: by class the images that hold a label of it.
    """

    true: NDArray[np.bool_]
    scores: NDArray[Any]
    classes: NDArray[Any]
    targets: NDArray[Any]
    images: Counter[int]


def own_matches(found: list[ImageDetections]) -> OwnMatches:
    """The detections of all images, matched to the labels."""
    true_positives = [torch.zeros(0, len(IOU_THRESHOLDS), dtype=torch.bool)]
    target_classes = [np.zeros(0, np.float32)]
    images_with: Counter[int] = Counter()
    for image in found:
        true_positives.append(match(image.detections, labels_in_original_pixels(image)))
        target_classes.append(image.sample.labels[:, 0])
        images_with.update(np.unique(image.sample.labels[:, 0].astype(int)).tolist())
    detections = torch.cat([torch.zeros(0, 6), *(image.detections for image in found)])
    return OwnMatches(
        true=torch.cat(true_positives).numpy(),
        scores=detections[:, 4].numpy(),
        classes=detections[:, 5].numpy(),
        targets=np.concatenate(target_classes),
        images=images_with,
    )


def own_metrics(
    found: list[ImageDetections], names: tuple[str, ...]
) -> tuple[DetectionMetrics, tuple[ClassMetrics, ...]]:
    """YOLOv5's own P, R and mAP, over all images."""
    matches = own_matches(found)
    figures = per_class(matches.true, matches.scores, matches.classes, matches.targets)
    return summarise(figures, names, matches.images)


def labels_in_original_pixels(image: ImageDetections) -> Tensor:
    """Labels as (m, 5) class and xyxy in original pixels, converted to the network's input and back.

    Upstream clips the boxes to the letterboxed input and shifts them by the unrounded padding; the same conversion,
    instead of scaling the labels directly, gives its figures.
    """
    labels = labels_in_network_pixels(image)
    size = image.sample.height, image.sample.width
    boxes = rescale_to_original(labels[:, 1:], size, image.ratio[0], image.pad)
    return torch.cat((labels[:, :1], boxes), dim=1)


def labels_in_network_pixels(image: ImageDetections) -> Tensor:
    """Labels as (m, 5) class and xyxy in pixels of the letterboxed input, clipped to it."""
    labels = torch.from_numpy(image.sample.labels)
    height, width = image.shape
    resized = torch.tensor([image.sample.width * image.ratio[1], image.sample.height * image.ratio[0]])
    corners = xywh_to_xyxy(labels[:, 1:]) * resized.repeat(2) + torch.tensor(image.pad).repeat(2)
    inside = torch.tensor([width, height]).repeat(2) - 1e-3
    return torch.cat((labels[:, :1], corners.clamp(min=torch.zeros(4), max=inside)), dim=1)
