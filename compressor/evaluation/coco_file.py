"""A COCO annotation file as columns, parsed value by value so that it takes little more memory than its text."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.errors import DatasetError, Diagnostic
from compressor.files.reading import MEGABYTE, file_bytes

ImageId = int | str

LARGEST_FILE = 4_000 * MEGABYTE  # instances_train2017.json has 470 MB
_LISTS = ("images", "annotations", "categories")
_BLANK = re.compile(r"[ \t\r\n]*")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_HELP = "the file must be COCO instances JSON with images, annotations and categories"
_LARGEST_NUMBER = 1e30  # the product of two such numbers is still finite
_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True)
class ImageRecord:
    """One entry of `images`.

    Attributes:
        id: as written in the file.
        file_name: with `/` between folders; empty if there is none.
        size: width and height in pixels; None if they are not given.
    """

    id: ImageId
    file_name: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Category:
    """One entry of `categories`."""

    id: int
    name: str


@dataclass(frozen=True, eq=False)
class Instances:
    """The images, categories and boxes of a COCO annotation file.

    Attributes:
        images: in the file's order.
        categories: in the file's order.
        image_of: (n,) index in `images` of each annotation, -1 if no image has its `image_id`.
        category_ids: (n,).
        boxes: (n, 4) left, top, width, height in pixels; NaN if there is no box.
        areas: (n,) in square pixels; width x height of the box if the annotation gives none.
        crowds: (n,) regions that hold many objects in one.
        areas_missing: number of annotations with a box and no area.
        unknown_ids: the first few `image_id` that no image has.
    """

    images: tuple[ImageRecord, ...]
    categories: tuple[Category, ...]
    image_of: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowds: NDArray[np.bool_]
    areas_missing: int
    unknown_ids: tuple[ImageId, ...]


def as_number(image_id: ImageId) -> ImageId:
    """An id as a number if it is written as one, so that `1` and `"1"` are equal; `"01"` stays text."""
    return int(image_id) if isinstance(image_id, str) and _DECIMAL.fullmatch(image_id) else image_id


def read_instances(file: Path) -> Instances:
    """Read a COCO annotation file.

    A byte order mark is skipped. An `area` that is missing or null is computed from the box, such an `iscrowd` is read
    as 0; an annotation whose `bbox` is missing, null or empty has no box.

    Raises:
        DatasetError: D408 the file cannot be read, or is not in this format.
    """
    try:
        content = file_bytes(file, LARGEST_FILE)
    except OSError as error:
        message = f"the annotations cannot be read: {error.strerror or error}"
        raise DatasetError(Diagnostic("D408", message, str(file), help=_HELP)) from error
    try:
        text = content.decode(json.detect_encoding(content))
        del content
        page = _Page()
        page.read(_Text(text))
        return page.instances()
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg}"
        raise DatasetError(Diagnostic("D408", message, str(file), error.lineno, error.colno, _HELP)) from error
    except UnicodeDecodeError as error:
        help_text = "save it as UTF-8"
        raise DatasetError(Diagnostic("D408", "the file is not text", str(file), help=help_text)) from error
    except RecursionError as error:
        message = "not valid JSON: brackets nested too deep"
        raise DatasetError(Diagnostic("D408", message, str(file), help=_HELP)) from error
    except ValueError as error:
        raise DatasetError(Diagnostic("D408", str(error), str(file), help=_HELP)) from error


class _Text:
    """Reads a JSON text from front to back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.decode: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().raw_decode

    def next(self) -> str:
        """The next character that is not blank; empty at the end."""
        found = _BLANK.match(self.text, self.at)
        assert found is not None  # the pattern also matches the empty text
        self.at = found.end()
        return self.text[self.at : self.at + 1]

    def take(self, letter: str) -> None:
        """Skip a character that must come next."""
        if self.next() != letter:
            raise json.JSONDecodeError(f"expected {letter!r}", self.text, self.at)
        self.at += 1

    def value(self) -> Any:
        """The next value, parsed as a whole."""
        self.next()
        value, self.at = self.decode(self.text, self.at)
        return value

    def members(self) -> Iterator[str]:
        """The keys of a mapping; the caller reads each key's value before it asks for the next key."""
        for _ in self._parts("{", "}"):
            key = self.value()
            if not isinstance(key, str):
                raise json.JSONDecodeError("a key must be text", self.text, self.at)
            self.take(":")
            yield key

    def items(self) -> Iterator[Any]:
        """The values of a list, one by one."""
        for _ in self._parts("[", "]"):
            yield self.value()

    def _parts(self, first: str, last: str) -> Iterator[None]:
        self.take(first)
        if self.next() == last:
            self.at += 1
            return
        while True:
            yield
            if self.next() == last:
                self.at += 1
                return
            self.take(",")


@dataclass
class _Page:
    """Collects the columns while the file is read."""

    images: list[ImageRecord] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    ids: dict[Any, int] = field(default_factory=dict)  # each `image_id` to a number
    id_of: array[int] = field(default_factory=lambda: array("q"))
    category_ids: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("d"))
    areas: array[float] = field(default_factory=lambda: array("d"))
    crowds: bytearray = field(default_factory=bytearray)

    def read(self, text: _Text) -> None:
        """Read the whole document.

        Raises:
            ValueError: says where and what is wrong.
        """
        if text.next() != "{":
            raise ValueError("the document is not a mapping; a bare list is the format of predictions")
        seen: Counter[str] = Counter()
        for key in text.members():
            seen[key] += 1
            if key not in _LISTS:
                text.value()
                continue
            if seen[key] > 1:
                raise ValueError(f"the key {key!r} is given twice")
            if text.next() != "[":
                raise ValueError(f"{key} must be a list")
            add = {"images": self._image, "annotations": self._annotation, "categories": self._category}[key]
            for number, item in enumerate(text.items()):
                if type(item) is not dict:
                    raise ValueError(f"{key}[{number}] must be a mapping, got {_shown(item)}")
                add(item, number)
        if text.next():
            raise json.JSONDecodeError("something follows the document", text.text, text.at)
        missing = [key for key in _LISTS if not seen[key]]
        if missing:
            raise ValueError(f"the list {missing[0]!r} is missing")

    def _image(self, item: dict[str, Any], number: int) -> None:
        place = f"images[{number}]"
        name = item.get("file_name")
        if name is not None and not isinstance(name, str):
            raise _refused(f"{place}.file_name", "text", name)
        sides = [item.get(key) for key in ("width", "height")]
        size = [int(side) for side in sides if isinstance(side, int | float) and 0 < side < _LARGEST_NUMBER]
        known = (size[0], size[1]) if len(size) == 2 else None
        record = ImageRecord(_image_id(item, "id", place), (name or "").replace("\\", "/"), known)
        self.images.append(record)

    def _category(self, item: dict[str, Any], number: int) -> None:
        place = f"categories[{number}]"
        name = item.get("name")
        if not isinstance(name, str):
            raise _refused(f"{place}.name", "text", name)
        self.categories.append(Category(_whole(item.get("id"), f"{place}.id"), name))

    def _annotation(self, item: dict[str, Any], number: int) -> None:
        image_id, category = item.get("image_id"), item.get("category_id")
        if type(image_id) is not int:
            image_id = _image_id(item, "image_id", f"annotations[{number}]")
        if type(category) is not int:
            category = _whole(category, f"annotations[{number}].category_id")
        self._numbers(item, number)
        try:
            self.category_ids.append(category)
        except OverflowError:
            place = f"annotations[{number}].category_id"
            raise _refused(place, "a whole number of at most 18 digits", category) from None
        self.id_of.append(self.ids.setdefault(image_id, len(self.ids)))
        crowd = item.get("iscrowd")
        self.crowds.append(crowd is not None and bool(_whole(crowd, f"annotations[{number}].iscrowd")))

    def _numbers(self, item: dict[str, Any], number: int) -> None:
        box, area = item.get("bbox"), item.get("area")
        if box is None or box == []:
            box = (math.nan,) * 4
        elif type(box) is not list or len(box) != 4 or not all(map(_is_number, box)):
            box = _four(box, f"annotations[{number}].bbox")
        if area is None:
            area = math.nan
        elif not _is_number(area):
            area = _finite(area, f"annotations[{number}].area")
        self.boxes.extend(box)
        self.areas.append(area)

    def instances(self) -> Instances:
        """The columns, with the index of every annotation's image."""
        records = {as_number(record.id): place for place, record in reversed(list(enumerate(self.images)))}
        found = np.array([records.get(as_number(each), -1) for each in self.ids], dtype=np.int64)
        boxes = np.array(self.boxes, dtype=np.float64).reshape(-1, 4)
        areas = np.array(self.areas, dtype=np.float64)
        missing = np.isnan(areas)
        areas[missing] = boxes[missing, 2] * boxes[missing, 3]
        return Instances(
            images=tuple(self.images),
            categories=tuple(self.categories),
            image_of=found[np.array(self.id_of, dtype=np.int64)],
            category_ids=np.array(self.category_ids, dtype=np.int64),
            boxes=boxes,
            areas=areas,
            crowds=np.frombuffer(self.crowds, dtype=np.bool_),
            areas_missing=int((missing & ~np.isnan(areas)).sum()),
            unknown_ids=tuple(each for each, place in zip(self.ids, found, strict=True) if place < 0)[:6],
        )


def _is_number(value: Any) -> bool:
    return type(value) in (float, int) and -_LARGEST_NUMBER < value < _LARGEST_NUMBER


def _image_id(item: dict[str, Any], key: str, place: str) -> ImageId:
    value = item.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _refused(f"{place}.{key}", "a whole number or text", value)
    return value


def _whole(value: Any, place: str) -> int:
    """A whole number; `"4"`, `4.0` and true are accepted as well."""
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return int(value)
    raise _refused(place, "a whole number", value)


def _finite(value: Any, place: str) -> float:
    """A finite number; `"1.5"` is accepted as well."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not _is_number(number):
        raise _refused(place, "a finite number", value)
    return number


def _four(box: Any, place: str) -> tuple[float, ...]:
    wanted = "four finite numbers: left, top, width and height in pixels"
    if not isinstance(box, list) or len(box) != 4:
        raise _refused(place, wanted, box)
    return tuple(_finite(value, f"{place}[{index}]") for index, value in enumerate(box))


def _refused(place: str, wanted: str, value: Any) -> ValueError:
    return ValueError(f"{place} must be {wanted}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """A value as error messages show it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {value[:_SHOWN]!r}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "a mapping" if isinstance(value, dict) else str(value)[:_SHOWN]
