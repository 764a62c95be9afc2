"""What a graph says of itself, checked before anything is computed by it."""

from __future__ import annotations

from typing import Any

_STRIDES = frozenset((8, 16, 32, 64))
_LARGEST = 8192


def checked_strides(strides: Any) -> tuple[int, ...]:
    """The strides of the levels; ValueError where they are not YOLOv5's."""
    if not isinstance(strides, list) or not strides or not set(strides) <= _STRIDES:
        raise ValueError(f"its strides are {str(strides)[:60]}")
    return tuple(strides)


def checked_size(size: Any, strides: tuple[int, ...]) -> int | None:
    """The side of the squares that it takes, None for any; ValueError for what no network of these strides takes."""
    if size is None:
        return None
    if type(size) is not int or not 0 < size <= _LARGEST or size % max(strides):
        raise ValueError(f"its image size is {str(size)[:60]}")
    return size
