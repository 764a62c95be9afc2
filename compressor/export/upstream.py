"""Graphs that YOLOv5's own exporter wrote: what they say of themselves, read as literals, so that nothing is executed.

ONNX files hold `names` and `stride` in their metadata as the text of Python values, OpenVINO folders in a YAML beside
the .xml, TorchScript files in `config.txt`, as JSON.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from compressor.export.graph import Graph, square_size
from compressor.files.reading import file_bytes

CONFIG = "config.txt"  # in a TorchScript file
_MOST_BYTES = 200_000  # of any text that is parsed; 1,203 class names take 40,000
_ABSENT = "it holds no names and stride, which YOLOv5's export writes from release v6.1 on"


def graph_of_literals(metadata: Mapping[str, str], takes: Sequence[int | None]) -> Graph:
    """An ONNX graph by its metadata and the shape of its input.

    Raises:
        ValueError, SyntaxError, RecursionError, MemoryError: they are not names and stride.
    """
    if not {"names", "stride"} <= metadata.keys():
        raise ValueError(_ABSENT)
    return _graph({key: ast.literal_eval(_short(metadata[key])) for key in ("names", "stride")}, takes)


def graph_of_yaml(file: Path, takes: Sequence[int | None]) -> Graph:
    """An OpenVINO graph by the YAML beside it and the shape of its input.

    Raises:
        ValueError, RecursionError: it holds no names and stride.
        OSError: it is not there, or is not a regular file.
        yaml.YAMLError: it is not YAML.
    """
    return _graph(yaml.safe_load(file_bytes(file, _MOST_BYTES).decode("utf-8-sig")), takes)


def graph_of_json(text: str) -> tuple[Graph, tuple[int, ...]]:
    """A TorchScript graph by its `config.txt`, with the shape of its input.

    Raises:
        ValueError, RecursionError: it holds no names, stride and shape.
    """
    described = json.loads(_short(text))
    shape = described.get("shape") if isinstance(described, dict) else None
    if not isinstance(shape, list) or len(shape) != 4 or not all(type(each) is int for each in shape):
        raise ValueError(f"its {CONFIG} holds no shape of its input")
    return _graph(described, shape), tuple(shape)


def yaml_text(names: Sequence[str], stride: int) -> str:
    """What YOLOv5 looks for beside an OpenVINO .xml, under its name with the ending .yaml."""
    described = {"stride": stride, "names": dict(enumerate(names))}
    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True)


def _graph(described: Any, takes: Sequence[int | None]) -> Graph:
    if not isinstance(described, Mapping) or not {"names", "stride"} <= described.keys():
        raise ValueError(_ABSENT)
    stride = described["stride"]
    if isinstance(stride, bool) or not isinstance(stride, int | float) or stride != int(stride):
        raise ValueError(f"its stride is {str(stride)[:60]}")
    return Graph(_names(described["names"]), (int(stride),), square_size(takes))


def _short(text: str) -> str:
    if len(text) > _MOST_BYTES:
        raise ValueError(f"its metadata hold a text of {len(text):,} letters, and at most {_MOST_BYTES:,} are read")
    return text


def _names(names: object) -> tuple[str, ...]:
    """Class names, of a list or of a mapping from 0, whose keys JSON makes texts.

    Raises:
        ValueError: they are something else.
    """
    if isinstance(names, Mapping):
        by_index = {str(key): value for key, value in names.items()}
        names = [by_index.get(str(index)) for index in range(len(names))]
    if not isinstance(names, list | tuple) or not names:
        raise ValueError("its names are neither a list of class names nor a mapping from 0")
    if not all(isinstance(each, str | int | float) for each in names):
        raise ValueError("its names are not those of the classes 0, 1, 2 ...")
    return tuple(map(str, names))
