"""Figures of a model on a data set, and how they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

EVALUATION_SCHEMA = "compressor/evaluation/1"
METHOD = 2  # of counting figures: raised by each change that moves a figure; 1 also for records without it


@dataclass(frozen=True)
class CocoMetrics:
    """The 12 figures of pycocotools, in its order: AP and AR over IoU 0.50:0.95 unless named otherwise."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None


@dataclass(frozen=True)
class DetectionMetrics:
    """YOLOv5's own figures: class means at the confidence of best F1 (P, R), and its own mAP.

    None if the images hold no object, so that there was nothing to measure.
    """

    P: float | None
    R: float | None
    mAP50: float | None
    mAP50_95: float | None


@dataclass(frozen=True)
class ClassMetrics:
    """One class, by YOLOv5's own metric.

    Attributes:
        index: class index.
        name: class name.
        images: images holding at least one object of the class.
        instances: objects of the class.
    """

    index: int
    name: str
    images: int
    instances: int
    P: float
    R: float
    AP50: float
    AP50_95: float


@dataclass(frozen=True)
class Metrics:
    """All figures of a model on one data set."""

    coco: CocoMetrics
    detection: DetectionMetrics
    classes: tuple[ClassMetrics, ...]


@dataclass(frozen=True)
class Speed:
    """Mean time per image in milliseconds; preprocess is the copy to the device, the cast and the division by 255."""

    preprocess_ms: float
    inference_ms: float
    nms_ms: float


Shapes = Literal["rectangles", "squares"]


@dataclass(frozen=True)
class EvaluationSettings:
    """How a model was evaluated.

    Attributes:
        image_size: as it was asked for, in pixels.
        batch_size: images per pass; 1 for a graph that takes one image at a time, even if more were asked for.
        runs_on: the runtime of the network: `torch`, or a runtime and its version.
        shapes: `rectangles` if the images of a batch were padded to a common rectangle, as YOLOv5 does; `squares` if
            each was padded to a square of `used_size`. None in records of earlier versions.
        used_size: the image size rounded up to the network's stride. None in records of earlier versions.
        most_per_class: largest number of detections of one class in an image, if suppression is part of a graph; else
            None.
        method: how figures are counted, see `METHOD`.
    """

    image_size: int
    batch_size: int
    conf_thres: float
    iou_thres: float
    max_det: int
    resize: str
    device: str
    precision: str
    runs_on: str = "torch"
    coco_engine: str = "pycocotools"
    shapes: Shapes | None = None
    used_size: int | None = None
    most_per_class: int | None = None
    method: int = 1

    @property
    def protocol(self) -> dict[str, Any]:
        """All settings that decide the figures, by name, without the data; equal if two were evaluated alike.

        The batch size is part of it for rectangles only: squares do not depend on the other images of a batch. Earlier
        versions evaluated on rectangles by torch.
        """
        shapes = self.shapes or ("rectangles" if self.runs_on == "torch" else None)
        return {
            "shapes": shapes,
            "image size": self.used_size or self.image_size,
            "batch size": None if shapes == "squares" else self.batch_size,
            "conf_thres": self.conf_thres,
            "iou_thres": self.iou_thres,
            "max_det": self.max_det,
            "most detections of a class": self.most_per_class,
            "resize": self.resize,
            "precision": self.precision,
        }

    @property
    def shapes_in_words(self) -> str:
        """`squares of 640 px` or `rectangles of 640 px`; `640 px` for records of earlier versions."""
        return f"{self.shapes} of {self.used_size} px" if self.shapes else f"{self.image_size} px"


Reason = Literal[
    "image unknown",
    "image not in split",
    "image left out",
    "image missing",
    "label file not read",
    "category unknown",
    "category not a class",
    "no box",
    "repeated",
]
_BECAUSE: dict[Reason, str] = {
    "image unknown": "no image in the annotations has its image_id",
    "image not in split": "the image is not in the split",
    "image left out": "the image was left out",
    "image missing": "the label file has no image",
    "label file not read": "the label file's ending is not .txt in lower case, and YOLOv5 reads no other",
    "category unknown": "no category in the annotations has its category_id",
    "category not a class": "the category is not one of the data set's classes",
    "no box": "the annotation has no box",
    "repeated": "the label file holds the same line again",
}
_NAMED = 5  # categories, and places, in a sentence
MOST_CATEGORIES = 100  # that one reason counts apart


@dataclass(frozen=True)
class ObjectCount:
    """Number of objects of one category.

    Attributes:
        name: of the category; its number if it has no name.
        objects: their number.
    """

    name: str
    objects: int


@dataclass(frozen=True)
class NotEvaluated:
    """Objects of the ground truth that are not evaluated, all for one reason.

    Attributes:
        reason: why they are not evaluated.
        objects: their number.
        categories: their number by category, largest first; at most `MOST_CATEGORIES`.
        places: the first few image files, label files or ids that they belong to.
    """

    reason: Reason
    objects: int
    categories: tuple[ObjectCount, ...]
    places: tuple[str, ...] = ()

    @property
    def because(self) -> str:
        """The reason as a clause."""
        return _BECAUSE[self.reason]

    @property
    def named(self) -> str:
        """The first few categories with their counts."""
        return _first([f"{each.name} {each.objects:,}" for each in self.categories])

    @property
    def located(self) -> str:
        """The first few places."""
        return _first(self.places)

    def __str__(self) -> str:
        """A sentence."""
        objects = f"{self.objects:,} object{'s' * (self.objects != 1)}"
        examples = "; ".join(filter(None, (self.named, self.located)))
        return f"{objects} not evaluated because {self.because}{f' ({examples})' if examples else ''}"


def _first(words: Sequence[str]) -> str:
    return ", ".join(words[:_NAMED]) + (", ..." if len(words) > _NAMED else "")


@dataclass(frozen=True)
class DataSummary:
    """The data that a model was evaluated on.

    Attributes:
        source: the dataset YAML as the user named it.
        split: train, val or test.
        images: images used.
        instances: objects in them by YOLOv5's own metric: those of the label files, and of the annotations where an
            image has no label file.
        backgrounds: images without such objects.
        skipped: one sentence per image or label file that was left out or corrected, and why.
        ground_truth: `labels`, or the COCO annotation file.
        sha256: digest over the names and bytes of images, labels and annotations used.
        objects: number of objects that the COCO figures use, without crowd regions; None in records of earlier
            versions.
        crowds: regions of the COCO annotations that hold many objects in one.
        not_evaluated: all other objects of the ground truth, by reason.
        names: class names of the data set, in order; empty in records of earlier versions.
        with_objects: number of images with an object that the COCO figures use; None in records of earlier versions.
    """

    source: str
    split: str
    images: int
    instances: int
    backgrounds: int
    skipped: tuple[str, ...]
    ground_truth: str
    sha256: str
    objects: int | None = None
    crowds: int = 0
    not_evaluated: tuple[NotEvaluated, ...] = ()
    names: tuple[str, ...] = ()
    with_objects: int | None = None

    @property
    def images_with_objects(self) -> int:
        """Number of images with an object; for records of earlier versions, as YOLOv5's own metric counts them."""
        return self.images - self.backgrounds if self.with_objects is None else self.with_objects


@dataclass(frozen=True)
class Resampled:
    """COCO figures on random draws of the images, as many as there are, with replacement (bootstrap, Efron 1979).

    The draws depend on the seed and the number of images only. Two models evaluated on the same images therefore have
    figures on the same draws, and the spread of their differences is that of a paired bootstrap.

    Attributes:
        images: number of images in each draw.
        seed: of the draws.
        AP: one figure per draw, six decimals; None if the drawn images hold no object.
        AP50: one figure per draw, six decimals; None if the drawn images hold no object.
    """

    images: int
    seed: int
    AP: tuple[float | None, ...]
    AP50: tuple[float | None, ...]


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one model on one data set.

    Attributes:
        resampled: figures on random draws, of the model before and after in `apply`; None elsewhere, and in records of
            earlier versions.
        precision_by_recall: at IoU 0.50, mean over classes, at the 101 recalls 0, 0.01, ... 1; empty if no class has
            objects.
    """

    metrics: Metrics
    speed: Speed
    data: DataSummary
    settings: EvaluationSettings
    resampled: Resampled | None = None
    precision_by_recall: tuple[float, ...] = ()
