"""Ground truth and detections in COCO's format."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from torch import Tensor

from compressor.data.dataset import Sample
from compressor.errors import DatasetError, Diagnostic, did_you_mean
from compressor.evaluation.boxes import xyxy_to_xywh
from compressor.input_file import MEGABYTE, file_bytes

ImageId = int | str
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
_LARGEST = 4_000 * MEGABYTE  # instances_train2017.json has 470
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


@dataclass(frozen=True)
class GroundTruth:
    """What the images hold, in COCO's terms.

    Attributes:
        images: one record per sample, in the samples' order.
        annotations: the objects of these images; ids count from 1, for pycocotools takes id 0 for unmatched.
        categories: every category, judged or not.
        category_ids: class index to category id.
        image_ids: id of each sample.
        official: the classes are COCO's own 80, under its own category ids.
    """

    images: tuple[Record, ...]
    annotations: tuple[Record, ...]
    categories: tuple[Record, ...]
    category_ids: tuple[int, ...]
    image_ids: tuple[ImageId, ...]
    official: bool


def to_predictions(detections: Sequence[Tensor], image_ids: Sequence[ImageId]) -> Predictions:
    """Detections as COCO records them.

    Left and top go through the float32 centre, as upstream's do. A float32 times a power of ten is exact in doubles
    for as many decimals as are kept, so numpy rounds here exactly as Python's `round` does.

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
    """What `write_predictions` wrote, on the images of a ground truth.

    Raises:
        ValueError: it is something else, or of other images or categories.
        OSError: it cannot be read.
    """
    found = _DETECTIONS.validate_json(file_bytes(path, _LARGEST))
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
    """Ground truth from YOLO labels: no crowds, and an object is as large as its box.

    An image's id is its stem, a number where it consists of digits. Where stems repeat it is the path below the
    folder all images share. A category's id is the class index, for COCO's own classes its own id.

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
        images=_image_records(image_ids, samples),
        annotations=_annotations_from_labels(samples, image_ids, category_ids),
        categories=tuple({"id": number, "name": name} for number, name in zip(category_ids, names, strict=True)),
        category_ids=category_ids,
        image_ids=image_ids,
        official=official,
    )


def _image_records(image_ids: Sequence[ImageId], samples: Sequence[Sample]) -> tuple[Record, ...]:
    return tuple(
        {"id": image_id, "file_name": sample.image.name, "width": sample.width, "height": sample.height}
        for image_id, sample in zip(image_ids, samples, strict=True)
    )


def _annotations_from_labels(
    samples: Sequence[Sample], image_ids: Sequence[ImageId], category_ids: Sequence[int]
) -> tuple[Record, ...]:
    annotations: list[Record] = []
    for image_id, sample in zip(image_ids, samples, strict=True):
        for category, x, y, width, height in sample.labels.astype(np.float64).tolist():
            w, h = width * sample.width, height * sample.height
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": category_ids[int(category)],
                "bbox": [x * sample.width - w / 2, y * sample.height - h / 2, w, h],
                "area": w * h,
                "iscrowd": 0,
            }
            annotations.append(annotation)
    return tuple(annotations)


def _ids_from_paths(paths: Sequence[Path]) -> tuple[ImageId, ...]:
    """Stems, or where they repeat paths below the common folder, without the suffix if that suffices."""
    stems = tuple(int(path.stem) if _is_number(path.stem) else path.stem for path in paths)
    if _all_differ(stems):
        return stems
    try:
        folder = os.path.commonpath([path.parent for path in paths])
        relative = [path.relative_to(folder) for path in paths]
    except ValueError:  # on several Windows drives
        relative = list(paths)
    for ids in (tuple(path.with_suffix("").as_posix() for path in relative), tuple(map(Path.as_posix, relative))):
        if _all_differ(ids):
            return ids
    raise _listed_twice(paths, ids)


def _listed_twice(paths: Sequence[Path], keys: Sequence[object], file: Path | None = None) -> DatasetError:
    """The error for images of which two have the same key."""
    repeated = [path.name for path, key in zip(paths, keys, strict=True) if keys.count(key) > 1]
    message = f"{_some(repeated)} are the same image"
    place = str(file) if file else None
    return DatasetError(Diagnostic("D406", message, place, help="list every image once"))


def _some(words: Sequence[str]) -> str:
    """The first few words of a list."""
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdecimal()


def _all_differ(ids: Sequence[ImageId]) -> bool:
    return len(set(ids)) == len(ids)


@dataclass(frozen=True)
class _Image:
    id: ImageId
    file_name: str


@dataclass(frozen=True)
class _Annotation:
    image_id: ImageId
    category_id: int
    bbox: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
    area: FiniteFloat
    iscrowd: int = 0


@dataclass(frozen=True)
class _Category:
    id: int
    name: str


@dataclass(frozen=True)
class _Instances:
    """The part of COCO's instances format that an evaluation of boxes reads."""

    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


_INSTANCES = TypeAdapter(_Instances)


def ground_truth_from_annotations(file: Path, samples: Sequence[Sample], names: Sequence[str]) -> GroundTruth:
    """Ground truth from a COCO instances file: crowds, areas and ids are the file's.

    An image's record is the one whose `file_name` ends in the image's name, else the one whose id is its stem. A
    class's category is the one of its name, in upper or lower case. COCO's own categories are also taken by their
    place where the class names are other words for them.

    Args:
        file: COCO instances JSON; it may hold more images than the samples.
        samples: the images to judge.
        names: class names by index.

    Raises:
        DatasetError: D406 an image without a record of its own; D407 a class without a category; D408 the file
            cannot be read.
    """
    instances = _read_instances(file)
    image_ids = _ids_from_records([sample.image for sample in samples], instances.images, file)
    category_ids = _ids_from_categories(names, instances, file)
    judged = set(image_ids)
    annotations = [annotation for annotation in instances.annotations if annotation.image_id in judged]
    return GroundTruth(
        images=_image_records(image_ids, samples),
        annotations=tuple({"id": number, **vars(annotation)} for number, annotation in enumerate(annotations, 1)),
        categories=tuple(vars(category) for category in instances.categories),
        category_ids=category_ids,
        image_ids=image_ids,
        official=category_ids == COCO_CATEGORY_IDS,
    )


def _read_instances(file: Path) -> _Instances:
    help_text = "the file must be COCO instances JSON with images, annotations and categories"
    try:
        return _INSTANCES.validate_json(file_bytes(file, _LARGEST))
    except OSError as fault:
        message = f"the annotations cannot be read: {fault.strerror or fault}"
        raise DatasetError(Diagnostic("D408", message, str(file), help=help_text)) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise DatasetError(Diagnostic("D408", f"{place}: {first['msg']}", str(file), help=help_text)) from fault


def _ids_from_records(paths: Sequence[Path], records: Iterable[_Image], file: Path) -> tuple[ImageId, ...]:
    by_name: dict[str, list[_Image]] = defaultdict(list)
    known_ids = set()
    for record in records:
        by_name[_posix(record.file_name).rsplit("/", 1)[-1]].append(record)
        known_ids.add(record.id)
    ids = [_id_from_record(path, by_name[path.name], known_ids) for path in paths]
    missing = [path.name for path, image_id in zip(paths, ids, strict=True) if image_id is None]
    if missing:
        message = f"{len(missing)} of {len(paths)} images have no record of their own here: {_some(missing)}"
        help_text = "add a record with the image's file_name, or take the image out of the data set"
        raise DatasetError(Diagnostic("D406", message, str(file), help=help_text))
    found = tuple(image_id for image_id in ids if image_id is not None)
    if not _all_differ(found):
        raise _listed_twice(paths, found, file)
    return found


def _id_from_record(path: Path, namesakes: list[_Image], known_ids: set[ImageId]) -> ImageId | None:
    if len(namesakes) > 1:  # told apart by their folders
        namesakes = [record for record in namesakes if path.as_posix().endswith(f"/{_posix(record.file_name)}")]
    if len(namesakes) == 1:
        return namesakes[0].id
    return int(path.stem) if _is_number(path.stem) and int(path.stem) in known_ids else None


def _posix(file_name: str) -> str:
    return file_name.replace("\\", "/")  # as written on Windows


def _ids_from_categories(names: Sequence[str], instances: _Instances, file: Path) -> tuple[int, ...]:
    used = {annotation.category_id for annotation in instances.annotations}
    # Exports of some labelling tools repeat a name for an empty parent category: the used one comes last and wins.
    categories = sorted(instances.categories, key=lambda category: category.id in used)
    exact = {category.name: category.id for category in categories}
    folded = {category.name.casefold(): category.id for category in categories}
    found = [exact.get(name, folded.get(name.casefold())) for name in names]
    if _are_coco_in_other_words(names, found, {category.id for category in categories}):
        return COCO_CATEGORY_IDS
    missing = [name for name, number in zip(names, found, strict=True) if number is None]
    if missing:
        raise DatasetError(*(_no_category(name, list(exact), file) for name in missing))
    wanted = {name.casefold() for name in names}
    twins = [c.name for c in categories if c.id in used and c.id not in found and c.name.casefold() in wanted]
    if twins:
        message = f"several categories with objects are called {_some(twins)}"
        raise DatasetError(Diagnostic("D407", message, str(file), help="merge them, or give each its own name"))
    return tuple(number for number in found if number is not None)


def _are_coco_in_other_words(names: Sequence[str], found: Sequence[int | None], known_ids: set[int]) -> bool:
    """80 classes, COCO's own ids (all, or some under COCO's own names), and no name that says otherwise."""
    if len(names) != len(COCO_NAMES):
        return False
    same_ids = known_ids == set(COCO_CATEGORY_IDS)
    same_names = tuple(names) == COCO_NAMES and known_ids <= set(COCO_CATEGORY_IDS)
    return (same_ids or same_names) and all(
        number in (None, expected) for number, expected in zip(found, COCO_CATEGORY_IDS, strict=True)
    )


def _no_category(name: str, known: list[str], file: Path) -> Diagnostic:
    help_text = did_you_mean(name, known) or f"the file's categories are {_some(known)}"
    return Diagnostic("D407", f"the class {name!r} has no category in this file", str(file), help=help_text)
