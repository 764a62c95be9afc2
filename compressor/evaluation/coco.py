"""Ground truth and detections in COCO's format."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, TypeAdapter
from torch import Tensor

from compressor.data.dataset import Sample
from compressor.data.sources import as_text
from compressor.errors import DatasetError, Diagnostic
from compressor.evaluation.boxes import xyxy_to_xywh
from compressor.evaluation.coco_file import LARGEST_FILE, ImageId
from compressor.files.reading import file_bytes
from compressor.results.evaluation import NotEvaluated

Record = dict[str, Any]  # one image, annotation or category as COCO's JSON holds it

# fmt: off
COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
_UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # planned for COCO and never annotated
COCO_CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED_IDS)


@dataclass(frozen=True)
class Predictions:
    """All detections of one evaluation, image by image in the loader's order.

    Attributes:
        image_ids: per image.
        image_index: (n,) position in `image_ids`, ascending.
        boxes: (n, 4) left, top, width, height in pixels of the original image, rounded to 3 decimals.
        scores: (n,) rounded to 5 decimals.
        classes: (n,) class indices.
    """

    image_ids: tuple[ImageId, ...]
    image_index: NDArray[np.int32]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of images, as columns.

    Attributes:
        images: (n,) position of the image in `GroundTruth.image_ids`.
        category_ids: (n,).
        boxes: (n, 4) left, top, width, height in pixels of the image.
        areas: (n,) in square pixels; of the mask if the annotations give it, else of the box.
        crowds: (n,) regions that hold many objects in one: they need not be found.
    """

    images: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowds: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    def where(self, chosen: NDArray[np.bool_]) -> Objects:
        """The chosen objects; `chosen` is (n,) bool."""
        return Objects(*(getattr(self, each.name)[chosen] for each in fields(self)))


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What the images hold, in COCO's terms.

    Attributes:
        images: one record per sample, in the samples' order.
        objects: the objects that are evaluated, all of a class.
        categories: every category, evaluated or not.
        category_ids: class index to category id.
        image_ids: id of each sample.
        official: the classes are COCO's own 80, under its own category ids.
        not_evaluated: all other objects of the annotations or labels, by reason.
        notes: a sentence for everything that was corrected, or looks wrong.
    """

    images: tuple[Record, ...]
    objects: Objects
    categories: tuple[Record, ...]
    category_ids: tuple[int, ...]
    image_ids: tuple[ImageId, ...]
    official: bool
    not_evaluated: tuple[NotEvaluated, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def annotations(self) -> tuple[Record, ...]:
        """The objects as COCO annotations; ids count from 1, because pycocotools reads id 0 as unmatched."""
        objects = self.objects
        columns = (objects.images, objects.category_ids, objects.boxes, objects.areas, objects.crowds)
        return tuple(
            {
                "id": number,
                "image_id": self.image_ids[image],
                "category_id": category,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for number, (image, category, box, area, crowd) in enumerate(
                zip(*(column.tolist() for column in columns), strict=True), 1
            )
        )

    def first(self, images: int) -> GroundTruth:
        """The ground truth of the first images only."""
        chosen = self.objects.where(self.objects.images < images)
        return replace(self, images=self.images[:images], objects=chosen, image_ids=self.image_ids[:images])


def as_objects(records: Sequence[Record], image_ids: Sequence[ImageId]) -> Objects:
    """COCO annotations as columns.

    Args:
        records: annotations with image_id, category_id, bbox, area and iscrowd.
        image_ids: of all images; each annotation's image must be among them.
    """
    place = {image_id: number for number, image_id in enumerate(image_ids)}
    return Objects(
        images=np.array([place[each["image_id"]] for each in records], dtype=np.int64),
        category_ids=np.array([each["category_id"] for each in records], dtype=np.int64),
        boxes=np.array([each["bbox"] for each in records], dtype=np.float64).reshape(-1, 4),
        areas=np.array([each["area"] for each in records], dtype=np.float64),
        crowds=np.array([bool(each["iscrowd"]) for each in records], dtype=np.bool_),
    )


def to_predictions(detections: Sequence[Tensor], image_ids: Sequence[ImageId]) -> Predictions:
    """Detections in COCO's results format.

    Left and top are computed from the float32 centre, as upstream does. A float32 times a power of ten is exact in
    doubles for the decimals that are written, so numpy rounds here exactly as Python's `round` does.

    Args:
        detections: per image, (n, 6) float32 x1, y1, x2, y2 in original pixels, score, class.
        image_ids: per image, in the same order.
    """
    rows = torch.cat([torch.zeros(0, 6), *(image.cpu() for image in detections)])
    xywh = xyxy_to_xywh(rows[:, :4])
    boxes = torch.cat((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, 2:]), dim=1)
    counts = [len(image) for image in detections]
    return Predictions(
        image_ids=tuple(image_ids),
        image_index=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        boxes=boxes.numpy().astype(np.float64).round(3),
        scores=rows[:, 4].numpy().astype(np.float64).round(5),
        classes=rows[:, 5].numpy().astype(np.int32),
    )


def write_predictions(predictions: Predictions, category_ids: Sequence[int], path: Path) -> None:
    """Write COCO's results format, one detection a line: image_id, category_id, bbox, score.

    Args:
        predictions: all detections.
        category_ids: class index to category id.
        path: the JSON file; an existing one is replaced.
    """
    columns = (predictions.image_index, predictions.classes, predictions.boxes, predictions.scores)
    separator = "[\n"
    with path.open("w", encoding="utf-8") as file:
        for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True):
            entry = {
                "image_id": predictions.image_ids[image],
                "category_id": category_ids[category],
                "bbox": box,
                "score": score,
            }
            file.write(separator + json.dumps(entry, allow_nan=False))
            separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")


@dataclass(frozen=True)
class _Detection:
    image_id: ImageId
    category_id: int
    bbox: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
    score: FiniteFloat


_DETECTIONS = TypeAdapter(list[_Detection])


def read_predictions(path: Path, ground_truth: GroundTruth) -> Predictions:
    """Read the file that `write_predictions` wrote.

    Raises:
        ValueError: the file has another format, or names images or categories that the ground truth does not have.
        OSError: the file cannot be read.
    """
    found = _DETECTIONS.validate_json(file_bytes(path, LARGEST_FILE))
    images = {image_id: place for place, image_id in enumerate(ground_truth.image_ids)}
    classes = {number: index for index, number in enumerate(ground_truth.category_ids)}
    strange = next((each for each in found if each.image_id not in images or each.category_id not in classes), None)
    if strange is not None:
        raise ValueError(f"image {strange.image_id}, category {strange.category_id}: not of the data set")
    found.sort(key=lambda each: images[each.image_id])
    return Predictions(
        image_ids=ground_truth.image_ids,
        image_index=np.array([images[each.image_id] for each in found], dtype=np.int32),
        boxes=np.array([each.bbox for each in found], dtype=np.float64).reshape(-1, 4),
        scores=np.array([each.score for each in found], dtype=np.float64),
        classes=np.array([classes[each.category_id] for each in found], dtype=np.int32),
    )


def ground_truth_from_labels(samples: Sequence[Sample], names: Sequence[str]) -> GroundTruth:
    """Ground truth from YOLO labels: there are no crowds, and an object's area is that of its box.

    An image's id is its stem, as a number if it consists of digits. If stems repeat it is the path below the folder
    that all images share. A category's id is the class index; COCO's own classes have COCO's ids.

    Args:
        samples: images with their normalised labels.
        names: class names by index.

    Raises:
        DatasetError: D406 an image is listed twice.
    """
    official = tuple(names) == COCO_NAMES
    category_ids = COCO_CATEGORY_IDS if official else tuple(range(len(names)))
    image_ids = _ids_from_paths([sample.image for sample in samples])
    return GroundTruth(
        images=image_records(image_ids, samples),
        objects=objects_of_labels(samples, category_ids),
        categories=tuple({"id": number, "name": name} for number, name in zip(category_ids, names, strict=True)),
        category_ids=category_ids,
        image_ids=image_ids,
        official=official,
    )


def image_records(image_ids: Sequence[ImageId], samples: Sequence[Sample]) -> tuple[Record, ...]:
    """COCO's `images` records of the samples."""
    return tuple(
        {"id": image_id, "file_name": sample.image.name, "width": sample.width, "height": sample.height}
        for image_id, sample in zip(image_ids, samples, strict=True)
    )


def objects_of_labels(samples: Sequence[Sample], category_ids: Sequence[int]) -> Objects:
    """The labels of the samples in pixels.

    Args:
        samples: images with their normalised labels.
        category_ids: class index to category id.
    """
    counts = [len(sample.labels) for sample in samples]
    rows = np.concatenate([np.zeros((0, 5)), *(sample.labels.astype(np.float64) for sample in samples)])
    sizes = np.array([(sample.width, sample.height) for sample in samples], dtype=np.float64).reshape(-1, 2)
    size = sizes.repeat(counts, axis=0)
    sides = rows[:, 3:] * size
    return Objects(
        images=np.arange(len(counts)).repeat(counts),
        category_ids=np.array(category_ids, dtype=np.int64)[rows[:, 0].astype(np.int64)],
        boxes=np.concatenate((rows[:, 1:3] * size - sides / 2, sides), axis=1),
        areas=sides[:, 0] * sides[:, 1],
        crowds=np.zeros(len(rows), np.bool_),
    )


def _ids_from_paths(paths: Sequence[Path]) -> tuple[ImageId, ...]:
    """Image ids: stems, or if they repeat paths below the common folder, without the suffix if they differ without."""
    stems = tuple(int(path.stem) if is_number(path.stem) else as_text(path.stem) for path in paths)
    if all_differ(stems):
        return stems
    try:
        folder = os.path.commonpath([path.parent for path in paths])
        relative = [path.relative_to(folder) for path in paths]
    except ValueError:  # on several Windows drives
        relative = list(paths)
    for named in (tuple(path.with_suffix("").as_posix() for path in relative), tuple(map(Path.as_posix, relative))):
        ids = tuple(map(as_text, named))
        if all_differ(ids):
            return ids
    raise listed_twice(paths, ids)


def listed_twice(paths: Sequence[Path], keys: Sequence[object], file: Path | None = None) -> DatasetError:
    """The error for images of which two have the same key."""
    counts = Counter(keys)
    repeated = [path.name for path, key in zip(paths, keys, strict=True) if counts[key] > 1]
    message = f"{some(repeated)} are the same image"
    place = str(file) if file else None
    return DatasetError(Diagnostic("D406", message, place, help="list every image once"))


def some(words: Sequence[str]) -> str:
    """The first three of a list and how many more there are, as text."""
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def is_number(stem: str) -> bool:
    """Whether an image's name is a number."""
    return stem.isascii() and stem.isdecimal()


def all_differ(ids: Sequence[object]) -> bool:
    """Whether no id occurs twice."""
    return len(set(ids)) == len(ids)
