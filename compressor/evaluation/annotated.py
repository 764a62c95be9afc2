"""Ground truth from COCO annotations: every object is evaluated, or counted under the reason why it is not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from compressor.data.dataset import Sample
from compressor.data.sources import is_there
from compressor.errors import DatasetError, Diagnostic, did_you_mean
from compressor.evaluation.coco import (
    COCO_CATEGORY_IDS,
    COCO_NAMES,
    GroundTruth,
    Objects,
    all_differ,
    image_records,
    is_number,
    listed_twice,
    some,
)
from compressor.evaluation.coco_file import ImageId, ImageRecord, Instances, as_number, read_instances
from compressor.results.class_name import one_form, plain
from compressor.results.evaluation import MOST_CATEGORIES, NotEvaluated, ObjectCount, Reason

_PLACES = 6
_FOLDERS_UP = 4  # parent folders of an image to which a record's file_name may be relative
_FEW_PIXELS = 4  # an image with a shorter side than this may have boxes in pixels that lie within 0 and 1
_ROUNDING = 1e-3  # boxes in fractions may exceed their image by this much
_ABSENT, _LEFT_OUT = -1, -2  # stand for the position of an image that the split does not hold


def ground_truth_from_annotations(
    file: Path, samples: Sequence[Sample], names: Sequence[str], left_out: Sequence[Path] = ()
) -> GroundTruth:
    """Ground truth from a COCO instances file: crowds, areas and ids are the file's.

    An image's record is the one whose `file_name` ends in the image's name, in any Unicode form. If there is none and
    the image's name is a number, it is the record with that id, provided that its `file_name` is the same number or is
    missing. A class's category is the one with the same name; case and blanks do not matter. COCO's own categories are
    also matched by position where the class names are other words for them.

    Args:
        file: COCO instances JSON; it may hold more images than the samples.
        samples: the images to evaluate.
        names: class names by index.
        left_out: the images of the split that cannot be evaluated.

    Raises:
        DatasetError: D406 an image without a record of its own; D407 a class without a category of its own; D408 the
            file cannot be read, or its boxes are not in pixels.
    """
    instances = read_instances(file)
    index = _Records(instances.images, file)
    places = index.places([sample.image for sample in samples])
    category_ids = _ids_from_categories(names, instances, file)
    _check_pixels(instances, samples, file)
    at = np.full(len(instances.images) + 1, _ABSENT)  # the last is that of annotations without an image
    at[[place for place in map(index.find, left_out) if place is not None]] = _LEFT_OUT
    at[list(places)] = np.arange(len(places))
    image_ids = tuple(instances.images[place].id for place in places)
    reasons = tuple(_reasons(instances, at, category_ids))
    evaluated = ~np.any([np.zeros(len(instances.areas), np.bool_), *(chosen for _, chosen in reasons)], axis=0)
    every = Objects(at[instances.image_of], instances.category_ids, instances.boxes, instances.areas, instances.crowds)
    objects = every.where(evaluated)
    return GroundTruth(
        images=image_records(image_ids, samples),
        objects=objects,
        categories=tuple(vars(category) for category in instances.categories),
        category_ids=category_ids,
        image_ids=image_ids,
        official=category_ids == COCO_CATEGORY_IDS,
        not_evaluated=tuple(_counted(reason, chosen, instances) for reason, chosen in reasons if chosen.any()),
        notes=(
            *_notes_of_classes(names, category_ids, instances),
            *index.notes(samples, places),
            *_notes_of_objects(objects, samples, instances),
        ),
    )


def _reasons(
    instances: Instances, at: NDArray[np.int64], category_ids: Sequence[int]
) -> Iterator[tuple[Reason, NDArray[np.bool_]]]:
    """Masks of the annotations that are not evaluated, one per reason; each annotation has its first reason only."""
    place = at[instances.image_of]
    known = [category.id for category in instances.categories]
    checks: tuple[tuple[Reason, NDArray[np.bool_]], ...] = (
        ("image unknown", instances.image_of < 0),
        ("image not in split", place == _ABSENT),
        ("image left out", place == _LEFT_OUT),
        ("category unknown", ~np.isin(instances.category_ids, known)),
        ("category not a class", ~np.isin(instances.category_ids, category_ids)),
        ("no box", np.isnan(instances.boxes[:, 0])),
    )
    counted = np.zeros(len(place), np.bool_)
    for reason, applies in checks:
        yield reason, applies & ~counted
        counted |= applies


def _counted(reason: Reason, chosen: NDArray[np.bool_], instances: Instances) -> NotEvaluated:
    named = {category.id: category.name for category in instances.categories}
    numbers, counts = np.unique(instances.category_ids[chosen], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
    found = zip(numbers[order].tolist(), counts[order].tolist(), strict=True)
    if reason == "image unknown":
        places = tuple(f"image_id {each!r}" for each in instances.unknown_ids)
    elif reason.startswith("category"):
        places = ()
    else:
        images = list(dict.fromkeys(instances.image_of[chosen][: 1000 * _PLACES].tolist()))[:_PLACES]
        places = tuple(instances.images[each].file_name or f"image {instances.images[each].id}" for each in images)
    categories = tuple(ObjectCount(named.get(number, f"category {number}"), count) for number, count in found)
    return NotEvaluated(reason, int(chosen.sum()), categories, places)


def _check_pixels(instances: Instances, samples: Sequence[Sample], file: Path) -> None:
    """Refuse boxes that are fractions of the image's size: read as pixels they would all lie in one corner.

    Raises:
        DatasetError: D408.
    """
    boxes = instances.boxes[(instances.boxes[:, 2:] > 0).all(axis=1)]  # neither without a box nor flat
    large = any(min(sample.width, sample.height) > _FEW_PIXELS for sample in samples)
    if not large or not len(boxes) or (np.abs(boxes - 0.5) > 0.5 + _ROUNDING).any():
        return
    first = ", ".join(f"{value:g}" for value in boxes[0])
    message = (
        f"the boxes look like fractions of the image's size: all {len(boxes):,} lie within 0 and 1, first [{first}], "
        "and COCO's boxes are in pixels"
    )
    help_text = "multiply left and width of every bbox by the image's width, top and height by its height"
    raise DatasetError(Diagnostic("D408", message, str(file), help=help_text))


def _notes_of_classes(names: Sequence[str], category_ids: Sequence[int], instances: Instances) -> Iterator[str]:
    """A warning where classes were matched to COCO's categories by position, under other names."""
    named: dict[int, list[str]] = defaultdict(list)
    for category in instances.categories:
        named[category.id].append(category.name)
    others = [
        f"{name!r} as {named[number][0]!r}"
        for name, number in zip(names, category_ids, strict=True)
        if number in named and plain(name) not in map(plain, named[number])
    ]
    if others:
        yield (
            f"{len(others)} of the {len(names)} class names differ from those of the annotations: they are matched to "
            f"COCO's classes by position, {some(others)}"
        )


def _notes_of_objects(objects: Objects, samples: Sequence[Sample], instances: Instances) -> Iterator[str]:
    """Warnings about areas that were missing and computed, and about boxes that no detection can match."""
    if instances.areas_missing:
        missing = f"{instances.areas_missing:,} annotations have no area"
        yield f"{missing}: width x height of the box decides whether an object is small, medium or large"
    flat = ~(objects.boxes[:, 2:] > 0).all(axis=1)
    sizes = np.array([(sample.width, sample.height) for sample in samples], dtype=np.float64).reshape(-1, 2)
    low, high = objects.boxes[:, :2], objects.boxes[:, :2] + objects.boxes[:, 2:]
    outside = ~flat & ((high <= 0) | (low >= sizes[objects.images])).any(axis=1)
    for chosen, what in ((flat, "have no width or no height"), (outside, "lie outside of their images")):
        if chosen.any():
            names = [samples[image].image.name for image in dict.fromkeys(objects.images[chosen].tolist())]
            yield f"{int(chosen.sum()):,} boxes {what} ({some(names)}): no detection can match them, so they are missed"


class _Records:
    """The image records of an annotation file, found by image."""

    def __init__(self, records: Sequence[ImageRecord], file: Path) -> None:
        self.records = records
        self.file = file
        self.by_name: dict[str, list[int]] = defaultdict(list)
        self.by_id: dict[ImageId, list[int]] = defaultdict(list)
        for place, record in enumerate(records):
            same = self.by_id[as_number(record.id)]
            if any(records[other].file_name == record.file_name for other in same):
                continue  # listed again
            same.append(place)
            self.by_name[one_form(_last(record.file_name))].append(place)

    def places(self, paths: Sequence[Path]) -> tuple[int, ...]:
        """Position in the list of each image's record.

        Raises:
            DatasetError: D406 an image has no record, or shares one.
        """
        found = [self.find(path) for path in paths]
        missing = [path for path, place in zip(paths, found, strict=True) if place is None]
        if missing:
            some_names = some([path.name for path in missing])
            message = f"{len(missing)} of {len(paths)} images have no record of their own here: {some_names}"
            help_text = "add a record with the image's file_name, or take the image out of the data set"
            several = self._several(missing)
            if several:
                help_text = "list every image once: take the other records out, or correct their file_name"
            raise self._refused(message + (several or self._misleading(missing)), help_text)
        places = tuple(place for place in found if place is not None)
        if not all_differ(places):
            raise listed_twice(paths, places, self.file)
        for place in places:
            same = self.by_id[as_number(self.records[place].id)]
            if len(same) > 1:
                sharing = some([self.records[other].file_name for other in same])
                message = f"several images have the id {self.records[place].id}: {sharing}"
                raise self._refused(message, "give every image an id of its own")
        return places

    def find(self, path: Path) -> int | None:
        """Position of an image's record; None if there is none, or if several fit."""
        namesakes = self._namesakes(path)
        if len(namesakes) == 1:
            return None if _names_another(self.records[namesakes[0]].file_name, path) else namesakes[0]
        if namesakes or not is_number(path.stem):
            return None
        numbered = [each for each in self.by_id.get(int(path.stem), []) if self._may_be(each, int(path.stem))]
        return numbered[0] if len(numbered) == 1 else None

    def _namesakes(self, path: Path) -> list[int]:
        """The records with an image's file name; where several have it, those that also name its folder."""
        namesakes = self.by_name.get(one_form(path.name), [])
        if len(namesakes) < 2:
            return namesakes
        here = f"/{one_form(path.as_posix())}"
        return [each for each in namesakes if here.endswith(f"/{one_form(self.records[each].file_name)}")]

    def _several(self, missing: Sequence[Path]) -> str:
        """A clause that names the first image with several records; empty if there is none."""
        for path in missing:
            ids = [str(self.records[each].id) for each in self._namesakes(path)]
            if len(ids) > 1:
                return f"; {len(ids)} records name {path.name}, with the ids {some(ids)}"
        return ""

    def _may_be(self, place: int, number: int) -> bool:
        """Whether a record found by its id names no file, or a file named by that number."""
        stem = PurePosixPath(self.records[place].file_name).stem
        return not stem or (is_number(stem) and int(stem) == number)

    def _misleading(self, missing: Sequence[Path]) -> str:
        """A clause that names a record which looks like that of the first such image, but is not."""
        path = missing[0]
        ids = self.by_id.get(int(path.stem), []) if is_number(path.stem) else []
        folded = path.name.casefold()
        near = next((each.file_name for each in self.records if _last(each.file_name).casefold() == folded), None)
        if near is not None:
            return f"; the closest record to {path.name} names {near}"
        return f"; the record with the id {int(path.stem)} names {self.records[ids[0]].file_name}" if ids else ""

    def _refused(self, message: str, help_text: str) -> DatasetError:
        return DatasetError(Diagnostic("D406", message, str(self.file), help=help_text))

    def notes(self, samples: Sequence[Sample], places: Sequence[int]) -> Iterator[str]:
        """A warning where the records give other sizes than the images have."""
        other = []
        for sample, place in zip(samples, places, strict=True):
            size = self.records[place].size
            if size is not None and size != (sample.width, sample.height):
                other.append((sample, size))
        if other:
            sample, (width, height) = other[0]
            first = f"{sample.image.name} is {sample.width} x {sample.height} px, its record says {width} x {height}"
            differ = f"{len(other):,} images have another size than in the annotations, first {first}"
            yield f"{differ}: boxes are read as pixels of the image, and are wrong if they belong to the other size"


def _names_another(file_name: str, path: Path) -> bool:
    """Whether a record with a folder, found by its file name alone, names another file that exists."""
    folders = len(PurePosixPath(file_name).parts) - 1
    if not folders or PurePosixPath(file_name).is_absolute() or PureWindowsPath(file_name).drive:
        return False
    if one_form(path.as_posix()).endswith(f"/{one_form(file_name)}"):
        return False
    return any(is_there(folder / file_name) for folder in path.parents[:_FOLDERS_UP])


def _last(file_name: str) -> str:
    return file_name.rsplit("/", 1)[-1]


def _ids_from_categories(names: Sequence[str], instances: Instances, file: Path) -> tuple[int, ...]:
    used = set(np.unique(instances.category_ids).tolist())
    # Exports of some labelling tools repeat a name for an empty parent category: the one in use comes last and wins.
    categories = sorted(instances.categories, key=lambda category: category.id in used)
    exact = {category.name: category.id for category in categories}
    folded = {plain(category.name): category.id for category in categories}
    found = [exact.get(name, folded.get(plain(name))) for name in names]
    if _are_coco_in_other_words(names, found, {category.id for category in categories}):
        return COCO_CATEGORY_IDS
    missing = [name for name, number in zip(names, found, strict=True) if number is None]
    if missing:
        raise DatasetError(*(_no_category(name, list(exact), file) for name in missing))
    ids = tuple(number for number in found if number is not None)
    _check_apart(names, ids, instances, used, file)
    return ids


def _check_apart(names: Sequence[str], ids: Sequence[int], instances: Instances, used: set[int], file: Path) -> None:
    """Refuse categories that share a name or an id, and classes that share a category."""
    wanted = {plain(name) for name in names}
    of_id: dict[int, list[str]] = defaultdict(list)
    for category in dict.fromkeys(instances.categories):
        of_id[category.id].append(category.name)
    twins = [
        category.name
        for category in instances.categories
        if category.id in used and category.id not in ids and plain(category.name) in wanted
    ]
    shared = [name for name, number in zip(names, ids, strict=True) if ids.count(number) > 1]
    both = next((number for number in ids if len(of_id[number]) > 1), None)
    if twins:
        message = f"several categories with objects are called {some(twins)}"
    elif shared:
        message = f"the classes {some(shared)} have the same category"
    elif both is not None:
        message = f"the categories {some(of_id[both])} have the same id {both}"
    else:
        return
    raise DatasetError(Diagnostic("D407", message, str(file), help="merge them, or give each its own name and id"))


def _are_coco_in_other_words(names: Sequence[str], found: Sequence[int | None], known_ids: set[int]) -> bool:
    """Whether there are 80 classes, COCO's own ids (all, or some under COCO's names), and no name that contradicts."""
    if len(names) != len(COCO_NAMES):
        return False
    same_ids = known_ids == set(COCO_CATEGORY_IDS)
    same_names = tuple(names) == COCO_NAMES and known_ids <= set(COCO_CATEGORY_IDS)
    return (same_ids or same_names) and all(
        number in (None, expected) for number, expected in zip(found, COCO_CATEGORY_IDS, strict=True)
    )


def _no_category(name: str, known: list[str], file: Path) -> Diagnostic:
    help_text = did_you_mean(name, known) or f"the file's categories are {some(known)}"
    return Diagnostic("D407", f"the class {name!r} has no category in this file", str(file), help=help_text)


def boxes_as_labels(ground_truth: GroundTruth, samples: Sequence[Sample]) -> list[Sample]:
    """The samples; those without a label file receive the boxes of their annotations as labels.

    Crowd regions are left out, since YOLOv5's metric does not know them, and boxes are clipped to their image.
    """
    class_of = {number: index for index, number in enumerate(ground_truth.category_ids)}
    objects = ground_truth.objects.where(~ground_truth.objects.crowds)
    order = np.argsort(objects.images, kind="stable")
    ends = np.searchsorted(objects.images[order], np.arange(len(samples) + 1))
    filled = []
    for sample, first, last in zip(samples, ends[:-1], ends[1:], strict=True):
        if sample.labelled:
            filled.append(sample)
            continue
        mine = objects.boxes[order[first:last]]
        size = np.array([sample.width, sample.height], dtype=np.float64)
        low, high = (corner.clip(0, size) for corner in (mine[:, :2], mine[:, :2] + mine[:, 2:].clip(min=0)))
        classes = [class_of[number] for number in objects.category_ids[order[first:last]].tolist()]
        rows = np.column_stack((np.array(classes), (low + high) / 2 / size, (high - low) / size))
        filled.append(replace(sample, labels=rows.astype(np.float32)))
    return filled
