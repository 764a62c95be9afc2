"""The networks of the releases, by which a recipe is checked where its weights are not at hand; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from compressor.models.convolution import Convolution
from compressor.models.yolov5.architecture import Generation, stock_architecture, stock_sizes
from compressor.models.yolov5.convolutions import convolutions_of

_GENERATIONS: tuple[Generation, ...] = ("v6", "v5")
_FILE_NAME = re.compile(r"yolov5([nsmlx]6?)[.]pt")


def released(file_name: str) -> tuple[Convolution, ...] | None:
    """The convolutions of what a file named like one of a release holds, such as `yolov5x.pt`: of the last releases.

    None where no release has a file of that name.
    """
    found = _FILE_NAME.fullmatch(file_name)
    return _stock("v6", found[1]) if found else None


def every_released() -> Iterator[tuple[Convolution, ...]]:
    """The convolutions of every size of every generation, the newest first."""
    return (_stock(generation, size) for generation in _GENERATIONS for size in stock_sizes(generation))


@cache
def _stock(generation: Generation, size: str) -> tuple[Convolution, ...]:
    return convolutions_of(stock_architecture(generation, size))
