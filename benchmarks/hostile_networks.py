"""Networks as an attacker describes them: a kilobyte that asks for gigabytes, minutes or nonsense; for `fuzz.py`.

Their tensors fit the layer table wherever that can be told, so that the reader goes as far as for an honest file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.export.checkpoint import checkpoint_bytes
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import Architecture, Row, architecture_to_yaml
from compressor.models.yolov5.build import build
from compressor.models.yolov5.convolutions import convolutions_of

_SMALL = (0, -1, -8, 1, 2, 3, 5, 7, 8, 16, 31, 32, 63, 64, 127, 128, 256)
_LARGE = (1000, 4096, 12_000, 16_000, 10**6, 10**9, 2**63, 10**30)
_FRACTIONS = (0.5, 1.5, 0.0, 1e-300, 1e300, math.nan, math.inf, -math.inf)
_NO_NUMBERS: tuple[Any, ...] = (None, True, "x", "None", [], [5, 9], [5] * 40)
_NUMBERS: tuple[Any, ...] = (*_SMALL, *_LARGE, *_FRACTIONS, *_NO_NUMBERS)
_NAMES = ("\x1b[2J\x1b]0;pwn\x07", "a\n| b |", "\u202egnp", "\ud800", "", "x" * 20_000, "<script>", "é")
_MOST_WEIGHTS = 2_000_000  # of tensors that are made to fit


def base(names: int) -> Architecture:
    """A small network of every kind of layer that detects on strides 8 and 16."""
    rows = (
        ("Conv", (8, 3, 2)),
        ("Conv", (8, 3, 2)),
        ("C3", (8,)),
        ("Conv", (16, 3, 2)),
        ("SPPF", (16, 5)),
        ("Conv", (16, 3, 2)),
        ("SPP", (16, (5, 9))),
    )
    backbone = tuple(Row((-1,), 1, kind, args) for kind, args in rows)  # type: ignore[arg-type]  # kinds as written
    head = (
        Row((-1,), 1, "Upsample", (None, 2, "nearest")),
        Row((-1, 4), 1, "Concat", (1,)),
        Row((-1,), 1, "C3", (16, False)),
        Row((9, 6), 1, "Detect", ("nc", "anchors")),
    )
    anchors = (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)))
    return Architecture(names, 1.0, 1.0, anchors, backbone, head)


def changed(architecture: Architecture, random: Random) -> Architecture:
    """One to three numbers, rows or scales of a layer table changed."""
    for _ in range(random.choice((1, 1, 2, 3))):
        change = random.choice((_argument, _argument, _argument, _repeated, _repeated, _sources, _scale, _anchors))
        architecture = change(architecture, random)
    return architecture


def _with_rows(architecture: Architecture, rows: list[Row]) -> Architecture:
    cut = min(len(architecture.backbone), len(rows))
    return replace(architecture, backbone=tuple(rows[:cut]), head=tuple(rows[cut:]))


def _argument(architecture: Architecture, random: Random) -> Architecture:
    rows = list(architecture.rows)
    place = random.randrange(len(rows) - 1)
    row = rows[place]
    args = list(row.args)
    index = random.randrange(max(5 if row.kind == "Conv" else 2, len(args)))
    args += [(8, 1, 1, None, 1)[i] for i in range(len(args), min(index, 5))]
    value = random.choice(_NUMBERS)
    args[index : index + 1] = [tuple(value) if isinstance(value, list) else value]
    repeats = random.choice((1, 1, 1, 2, 100, 5000, 10**9, -3)) if random.random() < 0.2 else row.repeats
    rows[place] = replace(row, args=tuple(args), repeats=repeats)
    return _with_rows(architecture, rows)


def _repeated(architecture: Architecture, random: Random) -> Architecture:
    """A chain of one layer before Detect, which multiplies channels or sides each time, or only takes time."""
    rows = list(architecture.rows)
    link = random.choice(
        (
            Row((-1,), 1, "Upsample", (None, random.choice((2, 2, 4, 64)), "nearest")),
            Row((-1, -1), 1, "Concat", (1,)),
            Row((-1,) * random.choice((3, 40, 1000)), 1, "Concat", (1,)),
            Row((-1,), 1, "Conv", (8, 1, random.choice((1, 2)))),
            Row((-1,), random.choice((1, 30)), "C3", (8,)),
            Row((-1,), 1, "SPPF", (8, random.choice((5, 63)))),
        )
    )
    rows[-1:-1] = [link] * random.choice((1, 2, 5, 11, 22, 60, 600, 3000))
    if random.random() < 0.3:
        rows[-1] = replace(rows[-1], sources=(len(rows) - 2, len(rows) - 2))
    return _with_rows(architecture, rows)


def _sources(architecture: Architecture, random: Random) -> Architecture:
    rows = list(architecture.rows)
    place = random.randrange(len(rows))
    sources = tuple(random.choice((-1, -2, 0, 1, 3, place, 10**9)) for _ in range(random.choice((0, 1, 2, 2, 5))))
    rows[place] = replace(rows[place], sources=sources)
    return _with_rows(architecture, rows)


def _scale(architecture: Architecture, random: Random) -> Architecture:
    numbers = [value for value in _NUMBERS if isinstance(value, float) or type(value) is int]
    match random.randrange(3):
        case 0:
            return replace(architecture, depth_multiple=float(random.choice(numbers)))
        case 1:
            return replace(architecture, width_multiple=float(random.choice(numbers)))
        case _:
            return replace(architecture, nc=random.choice((0, -3, 1, 1000, 9000, 20_000, 400_000, 10**9)))


def _anchors(architecture: Architecture, random: Random) -> Architecture:
    value = random.choice((0.0, -5.0, math.nan, math.inf, 3e38, 1e-40, 7.0))
    shapes: tuple[Any, ...] = (
        (),
        ((), ()),
        (((value, value),),),
        (((value, 1.0),), ((1.0, value),)),
        (((1.0, 1.0),),) * 3,
    )
    return replace(architecture, anchors=random.choice(shapes))


def state_dict(architecture: Architecture, random: Random) -> bytes:
    """A safetensors state dict with the layer table, and all tensors that it asks for where they are few."""
    last = len(architecture.rows) - 1
    tensors = {f"model.{last}.anchors": _grid(architecture, random)}
    for name, shape in _shapes(architecture).items():
        tensors[f"{name}.weight"] = np.zeros(shape, np.float16)
        tensors[f"{name}.bias"] = np.zeros(shape[0], np.float16)
    if random.random() < 0.1:
        name = random.choice(list(tensors))
        tensors[name] = np.zeros(random.choice(((), (0,), (10**9, 0), (3, 0, 2), (1, 1, 1, 1))), np.float16)
    metadata = {"yaml": json.dumps(architecture_to_yaml(replace(architecture, anchors=((),))))}
    if random.random() < 0.3:
        metadata["names"] = json.dumps([random.choice(_NAMES) for _ in range(min(5, max(0, architecture.nc)))])
    return save(tensors, metadata)


def _grid(architecture: Architecture, random: Random) -> np.ndarray[Any, Any]:
    if random.random() < 0.1:
        return np.full(random.choice(((3, 0, 2), (3,), (0, 1, 2), (2, 1, 2, 1), (2, 1, 3), ())), 1.0, np.float32)
    try:
        return np.array(architecture.anchors, np.float32) / 8
    except (ValueError, OverflowError):
        return np.ones((2, 2, 2), np.float32)


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Of every convolution's weight; those of the unchanged network where they cannot be told, or are large."""
    repeats = [row.repeats for row in architecture.rows if row.kind == "C3"]
    if all(type(each) is int and each < 10_000 for each in repeats) and sum(repeats) < 3000:
        try:
            found = {each.name: tuple(map(int, each.shape)) for each in convolutions_of(architecture)}
            if 0 < sum(map(math.prod, found.values())) < _MOST_WEIGHTS and min(map(min, found.values())) >= 0:
                return found
        except Exception:  # nonsense makes no network
            pass
    return {each.name: each.shape for each in convolutions_of(base(3))}


def checkpoint(architecture: Architecture, names: tuple[str, ...]) -> bytes:
    """A `.pt` of an honest small network under the layer table."""
    model = _honest(names)
    model.spec = architecture
    return checkpoint_bytes(model, torch.float16)


def artifact(architecture: Architecture, names: tuple[str, ...], random: Random) -> bytes:
    """An artifact of an honest small network, its digests right, under the layer table."""
    model = _honest(names)
    model.spec = architecture
    return encode_model(model, Form("float16", random.choice(("dense", "bitmask"))), Provenance({}, "x", "0" * 64))


def _honest(names: tuple[str, ...]) -> Detector:
    model = build(base(len(names)), names, fused=True).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter[parameter.abs() < 0.1] = 0
    return model


def hostile(form: str, names: tuple[str, ...]) -> Callable[[Random], bytes]:
    """What makes the bytes of one hostile file: `network` as a state dict, `network.pt` or `network artifact`."""

    def make(random: Random) -> bytes:
        for _ in range(20):
            architecture = changed(base(len(names)), random)
            try:
                match form:
                    case "network.pt":
                        return checkpoint(architecture, names)
                    case "network artifact":
                        return artifact(architecture, names, random)
                    case _:
                        return state_dict(architecture, random)
            except Exception:  # what no writer can write
                continue
        return b""

    return make
