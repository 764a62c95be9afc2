"""YOLO label files: one object per line, `class x_centre y_centre width height`, or a polygon."""

from __future__ import annotations

from pathlib import PurePath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.float32]  # (n, 5): class, x centre, y centre, width, height; fractions of the image's size

_AnyPath = TypeVar("_AnyPath", bound=PurePath)


def label_path(image: _AnyPath) -> _AnyPath:
    """Where an image's label file stands: the last folder `images` becomes `labels`, the ending `.txt`.

    An image under no folder of that name has its label file beside it.
    """
    parts = list(image.parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return type(image)(*parts).with_suffix(".txt")


def parse_labels(content: bytes, classes: int) -> tuple[Labels, int]:
    """Read a label file by the rules of release v7.0.

    Where any line has more than 6 values, all lines are polygons `class x1 y1 x2 y2 ...` and become their enclosing
    boxes. Where lines are repeated, one of each stays and the rows are in ascending order, as upstream leaves them.

    Args:
        content: the file's bytes.
        classes: number of classes of the data set.

    Returns:
        The labels, and how many repeated lines were dropped.

    Raises:
        ValueError: what is wrong, with its line.
    """
    lines = _values(content)
    polygons = any(len(values) > 6 for _, values in lines)
    rows = np.array([_box(number, values, polygons) for number, values in lines], np.float32).reshape(-1, 5)
    _check(rows, [number for number, _ in lines], classes)
    unique = np.unique(rows, axis=0)
    repeated = len(rows) - len(unique)
    return (unique if repeated else rows), repeated


def _values(content: bytes) -> list[tuple[int, list[float]]]:
    """Line number, counted from 1, and values of each line that is not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the file is not text") from error
    lines = ((number, line.split()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, [_number(word, number) for word in words]) for number, words in lines if words]


def _number(word: str, line: int) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"line {line}: {word!r} is not a number") from None


def _box(line: int, values: list[float], polygon: bool) -> list[float] | NDArray[np.float32]:
    """Class, x centre, y centre, width, height."""
    if polygon:
        if len(values) < 3 or len(values) % 2 == 0:
            raise ValueError(f"line {line}: a polygon needs a class and pairs of x and y, got {len(values)} values")
        points = np.array(values[1:], np.float32).reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        return np.concatenate((np.array(values[:1], np.float32), (low + high) / 2, high - low))
    if len(values) != 5:
        raise ValueError(f"line {line}: a box needs 5 values (class, x, y, width, height), got {len(values)}")
    return values


def _check(rows: Labels, lines: list[int], classes: int) -> None:
    """Raise for the first error; the order of the checks is that of how much each explains."""
    index, coordinates = rows[:, 0], rows[:, 1:]
    errors = (
        (~np.isfinite(rows).all(axis=1), "every value must be a finite number"),
        ((rows < 0).any(axis=1), "a value is below 0"),
        ((coordinates > 1).any(axis=1), "a coordinate is above 1; coordinates are fractions of the image's size"),
        (index != np.floor(index), "the class must be a whole number"),
        (index >= classes, f"the data set has only {classes} classes, counted from 0"),
    )
    for bad, reason in errors:
        if bad.any():
            raise ValueError(f"line {lines[int(bad.argmax())]}: {reason}")
