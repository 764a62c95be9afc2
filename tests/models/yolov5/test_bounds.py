"""Files of a kilobyte that describe networks without sense or end: each is refused by name, and costs nothing."""

from __future__ import annotations

import json
import resource
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from compressor.artifact.bitmask import Bitmask, decode
from compressor.artifact.load import load_model
from compressor.artifact.save import Form, Provenance, encode_model
from compressor.errors import CheckpointError, CompressorError
from compressor.export.checkpoint import checkpoint_bytes
from compressor.models.yolov5 import bounds
from compressor.models.yolov5.architecture import Architecture, Row, stock_architecture, stock_sizes
from compressor.models.yolov5.build import build
from compressor.models.yolov5.tryout import try_out

Rows = list[list[Any]]
DETECT = [[-1, -1], 1, "Detect", ["nc", "anchors"]]
UP = [-1, 1, "nn.Upsample", [None, 2, "nearest"]]


def conv(*args: Any) -> list[Any]:
    return [-1, 1, "Conv", [8, *args]]


def network(
    file: Path,
    rows: Rows | None = None,
    anchors: Any = (((8.0, 8.0),), ((8.0, 8.0),)),
    nc: int = 1,
    tensors: dict[str, Tensor] | None = None,
    names: list[str] | None = None,
    **yaml: Any,
) -> Path:
    """A state dict with a layer table: a Conv of 3 to 8 channels, whatever follows, and two levels of Detect."""
    rows = rows or [conv(1, 8), DETECT]
    table = {"nc": nc, "depth_multiple": 1, "width_multiple": 1, "backbone": rows[:1], "head": rows[1:], **yaml}
    last = len(rows) - 1
    made = {
        "model.0.conv.weight": torch.zeros(8, 3, 1, 1),
        "model.0.conv.bias": torch.zeros(8),
        f"model.{last}.anchors": torch.tensor(anchors),
        **{f"model.{last}.m.{level}.weight": torch.zeros(nc + 5, 8, 1, 1) for level in range(2)},
        **{f"model.{last}.m.{level}.bias": torch.zeros(nc + 5) for level in range(2)},
        **(tensors or {}),
    }
    save_file(made, file, {"yaml": json.dumps(table), **({"names": json.dumps(names)} if names else {})})
    return file


def test_the_network_that_the_others_are_made_from_is_read(tmp_path: Path) -> None:
    assert load_model(network(tmp_path / "x.safetensors")).model.strides == (8, 8)


NAN, INF = float("nan"), float("inf")
HOSTILE: dict[str, tuple[dict[str, Any], str, str]] = {
    "stride 12,000": ({"rows": [conv(1, 12000), DETECT]}, "W330", "the stride of layer 0 (Conv) is 12000"),
    "stride 4,096": ({"rows": [conv(1, 4096), DETECT]}, "W330", "the stride of layer 0 (Conv) is 4096"),
    "stride 3": ({"rows": [conv(1, 3), DETECT]}, "W311", "the stride of layer 0 (Conv) is 3, and must be a power of 2"),
    "stride 0": ({"rows": [conv(1, 0), DETECT]}, "W311", "the stride of layer 0 (Conv) is 0"),
    "stride -8": ({"rows": [conv(1, -8), DETECT]}, "W311", "the stride of layer 0 (Conv) is -8"),
    "stride 1.5": ({"rows": [conv(1, 1.5), DETECT]}, "W311", "the stride of layer 0 (Conv) is 1.5"),
    "stride true": ({"rows": [conv(1, True), DETECT]}, "W311", "the stride of layer 0 (Conv) is no number"),
    "stride 2 of Detect": ({"rows": [conv(1, 2), DETECT]}, "W311", "it detects at the stride 2"),
    "padding 16,000": ({"rows": [conv(1, 2, 16000), DETECT]}, "W330", "the padding of layer 0 (Conv) is 16000"),
    "padding -3": ({"rows": [conv(1, 8, -3), DETECT]}, "W311", "the padding of layer 0 (Conv) is -3"),
    "padding 60": ({"rows": [conv(1, 8, 60), DETECT]}, "W311", "cells of an image of 16 x 24 px"),
    "groups 0": ({"rows": [conv(1, 8, 0, 0), DETECT]}, "W311", "the groups of layer 0 (Conv) is 0"),
    "kernel 0": ({"rows": [conv(0, 8), DETECT]}, "W311", "the kernel of layer 0 (Conv) is 0"),
    "kernel 10^9": ({"rows": [conv(10**9, 8), DETECT]}, "W330", "the kernel of layer 0 (Conv) is 1000000000"),
    "no channels": ({"rows": [[-1, 1, "Conv", []], DETECT]}, "W311", "the number of channels of layer 0 (Conv)"),
    "many channels": ({"rows": [[-1, 1, "Conv", [10**8, 8, 8]], DETECT]}, "W330", "weights, and at most 600,000,000"),
    "kernels of SPP": (
        {"rows": [conv(1, 8), [-1, 1, "SPP", [8, [5, 9, 1001]]], DETECT]},
        "W330",
        "a kernel of layer 1 (SPP) is 1001",
    ),
    "20 poolings": (
        {"rows": [conv(1, 8), [-1, 1, "SPP", [8, [5] * 20]], DETECT]},
        "W311",
        "the kernels of layer 1 (SPP) are not a list of at most 16",
    ),
    "repeats": ({"rows": [conv(1, 8), [-1, 10**9, "C3", [8]], DETECT]}, "W330", "repeats of layer 1 (C3)"),
    "bottlenecks": (
        {"rows": [conv(1, 8), [-1, 2000, "C3", [8]], DETECT], "depth_multiple": 50},
        "W330",
        "100,000 bottlenecks",
    ),
    "concatenations": (
        {"rows": [conv(1, 8), *[[[-1, -1], 1, "Concat", [1]]] * 22, [[0, 0], 1, "Detect", []]]},
        "W330",
        "its feature maps would take",
    ),
    "3,000 layers": ({"rows": [conv(1, 8), *[UP] * 3000, [[0, 0], 1, "Detect", []]]}, "W330", "3,002 layers"),
    "an argument NaN": ({"rows": [conv(1, 8), [-1, 1, "C3", [8, NAN]], DETECT]}, "W311", "of layer 1 (C3) is nan"),
    "from nowhere": ({"rows": [conv(1, 8), [[-1, 7], 1, "Detect", []]]}, "W311", "layer 1 takes its input from 7"),
    "depth NaN": ({"depth_multiple": NAN}, "W311", "its depth_multiple is nan"),
    "depth 10^9": ({"depth_multiple": 1e9}, "W330", "its depth_multiple is 1e+09"),
    "a width of 10^9": ({"widths": {"model.0.conv": 10**9}}, "W330", "the width of 'model.0.conv' is 1000000000"),
    "a width of 10^8": ({"widths": {"model.0.conv": 10**8}}, "W330", "weights, and at most 600,000,000"),
    "a width of 0": ({"widths": {"model.0.conv": 0}}, "W311", "the width of 'model.0.conv' is 0"),
    "a width of -8": ({"widths": {"model.0.conv": -8}}, "W311", "the width of 'model.0.conv' is -8"),
    "a width of 4.5": ({"widths": {"model.0.conv": 4.5}}, "W311", "the width of 'model.0.conv' is 4.5"),
    "a width that is true": ({"widths": {"model.0.conv": True}}, "W311", "the width of 'model.0.conv' is no number"),
    "a width of nothing": ({"widths": {"": 8}}, "W311", "there is no convolution ''"),
    "a width of Detect": ({"widths": {"model.1.m.0": 8}}, "W311", "there is no convolution 'model.1.m.0'"),
    "a width of a long name": ({"widths": {"x" * 10**6: 8}}, "W311", "there is no convolution 'xxxxxx"),
    "20,001 widths": ({"widths": {f"model.{i}": 8 for i in range(20_001)}}, "W330", "it gives 20,001 widths"),
    "widths in a list": ({"widths": [8]}, "W311", "its widths are not a mapping"),
    "widths beside the tensors": ({"widths": {"model.0.conv": 4}}, "W305", "model.0.conv.weight is [8, 3, 1, 1]"),
    "width infinite": ({"width_multiple": INF}, "W311", "its width_multiple is inf"),
    "width negative": ({"width_multiple": -1}, "W311", "its width_multiple is -1"),
    "no anchors": ({"anchors": torch.zeros(3, 0, 2).tolist()}, "W331", "the shape [3, 0], not [levels, anchors, 2]"),
    "anchors in a line": ({"anchors": [8.0, 8.0, 8.0]}, "W331", "the shape [3], not [levels, anchors, 2]"),
    "anchors of 0": ({"anchors": [[[0.0, 0.0]]] * 2}, "W331", "an anchor of level 0 is 0 x 0 px"),
    "anchors negative": ({"anchors": [[[8.0, -5.0]]] * 2}, "W331", "an anchor of level 0 is 8 x -5 px"),
    "anchors infinite": ({"anchors": [[[8.0, 8.0]], [[INF, 1.0]]]}, "W331", "an anchor of level 1 is inf x 1 px"),
    "anchors NaN": ({"anchors": [[[NAN, 1.0]]] * 2}, "W331", "an anchor of level 0 is nan x 1 px"),
    "anchors of 3e38": ({"anchors": [[[3e38, 3e38]]] * 2}, "W331", "an anchor of level 0 is 3e+38 x 3e+38 px"),
    "no classes": ({"nc": 0}, "W311", "the number of classes is 0"),
    "negative classes": ({"nc": -3}, "W311", "the number of classes is -3"),
    "20,000 classes": ({"nc": 20_000}, "W330", "the number of classes is 20000, and at most 10,000"),
    "scalar head": ({"tensors": {"model.1.m.0.weight": torch.zeros(())}}, "W302", "model.1.m.0.weight is []"),
    "classes without bytes": (
        {"tensors": {"model.1.m.0.weight": torch.zeros(2**40, 0, 1, 1)}},
        "W330",
        "the number of classes is 1099511627771",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_is_refused_by_name_and_takes_no_memory(name: str, tmp_path: Path) -> None:
    changes, code, told = HOSTILE[name]
    file = network(tmp_path / "x.safetensors", **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        load_model(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert told in diagnostic.message
    assert diagnostic.path == str(file)


@pytest.mark.parametrize("generation", ["v5", "v6"])
def test_the_released_networks_lie_within_every_bound(generation: Any) -> None:
    for size in stock_sizes(generation):
        for nc in (1, 80, 1203):
            bounds.check_architecture(stock_architecture(generation, size, nc), "x.pt")


def with_levels(first: int, last: int) -> Architecture:
    """A small network that detects on feature maps of strides 2^first to 2^last, each straight from the backbone."""
    backbone = tuple(Row((-1,), 1, "Conv", (8, 3, 2)) for _ in range(last))
    sources = tuple(range(first - 1, last))
    anchors = tuple(((2.0**level, 2.0**level),) for level in range(first, last + 1))
    return Architecture(1, 1.0, 1.0, anchors, backbone, (Row(sources, 1, "Detect", ("nc", "anchors")),))


def test_levels_from_p2_to_p7_are_accepted_and_others_are_not() -> None:
    architecture = with_levels(2, 7)
    bounds.check_architecture(architecture, "x.pt")
    model = build(architecture).eval()
    bounds.check_strides(model.strides, "x.pt")
    try_out(model, "x.pt")
    assert model.strides == (4, 8, 16, 32, 64, 128)
    for first, last in ((1, 3), (3, 8)):
        with pytest.raises(CheckpointError, match=r"W311 .* detects at the stride (2|256),"):
            bounds.check_strides(build(with_levels(first, last)).strides, "x.pt")


@pytest.mark.parametrize(("nc", "fits"), [(1203, True), (6000, False)])
def test_the_outputs_of_many_classes_count_as_well(nc: int, fits: bool) -> None:
    """At 640 px, a level of stride 4 with one anchor gives 160 x 160 x (nc + 5) numbers."""
    model = build(replace(with_levels(2, 3), nc=nc)).eval()
    if fits:
        try_out(model, "x.pt")
    else:
        with pytest.raises(CheckpointError, match=r"W330 at model.3.m.0 its feature maps would take 0.6 GiB"):
            try_out(model, "x.pt")


def test_a_long_computation_is_stopped_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(with_levels(3, 5)).eval()
    try_out(model, "x.pt")
    monkeypatch.setattr("compressor.models.yolov5.tryout.MOST_OPERATIONS", 5_000_000)
    with pytest.raises(CheckpointError, match="W330 an image of 640 px would take more than 0 billion operations"):
        try_out(model, "x.pt")


def test_a_checkpoint_and_an_artifact_are_bounded_as_well(tmp_path: Path) -> None:
    model = build(with_levels(3, 4), fused=True).eval()
    rows = (replace(model.spec.backbone[0], args=(8, 3, 8000)), *model.spec.backbone[1:])
    model.spec = replace(model.spec, backbone=rows)
    form, provenance = Form("float32", "dense"), Provenance({}, "x", "0" * 64)
    (tmp_path / "x.pt").write_bytes(checkpoint_bytes(model, torch.float32))
    (tmp_path / "x.safetensors").write_bytes(encode_model(model, form, provenance))
    for name in ("x.pt", "x.safetensors"):
        with pytest.raises(CheckpointError, match=r"W330 the stride of layer 0 \(Conv\) is 8000"):
            load_model(tmp_path / name)


@pytest.mark.parametrize("shape", [[10**12, 0, 1, 1], [], "ab", [2, -3], [10**6, 10**6]])
def test_an_artifact_of_tensors_that_its_bytes_do_not_hold(shape: Any, tmp_path: Path) -> None:
    """A bitmask of a trillion rows without columns takes no byte of the file."""
    model = build(with_levels(3, 4), fused=True).eval()
    data = encode_model(model, Form("float32", "dense"), Provenance({}, "x", "0" * 64))
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    told = json.loads(header["__metadata__"]["compressor"])
    told["tensors"]["w.weight"] = {"shape": shape, "dtype": "float32", "sha256": ""}
    end = len(data) - 8 - size
    rows = shape[0] if shape and isinstance(shape, list) else 1
    header["__metadata__"]["compressor"] = json.dumps(told)
    header["w.bitmask"] = {"dtype": "U8", "shape": [rows, 0], "data_offsets": [end, end]}
    header["w.compressed"] = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}
    header["w.row_offsets"] = {"dtype": "I64", "shape": [0], "data_offsets": [end, end]}
    header["w.shape"] = {"dtype": "I64", "shape": [2], "data_offsets": [end, end + 16]}
    text = json.dumps(header).encode()
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :] + struct.pack("<2q", rows, 0))
    with pytest.raises(CheckpointError, match=r"W302|W330 it holds 1e\+12 numbers"):
        load_model(file)


def test_rows_without_columns_cost_nothing_and_hold_nothing() -> None:
    empty = Bitmask(
        torch.zeros(0),
        torch.zeros(10**12, 0, dtype=torch.uint8),
        torch.tensor([10**12, 0]),
        torch.zeros(0, dtype=torch.int64),
    )
    with pytest.raises(ValueError, match="holds nothing"):
        decode(empty, (10**12, 0, 1, 1))
    with pytest.raises(ValueError, match="holds nothing"):
        decode(empty, ())


@pytest.mark.parametrize("metadata", [{}, {"__metadata__": {"compressor": "{}"}}])
def test_a_sparse_file_of_100_gb_is_refused_unread(metadata: dict[str, Any], tmp_path: Path) -> None:
    header = {**metadata, "model.1.anchors": {"dtype": "F32", "shape": [25 * 10**9], "data_offsets": [0, 100 * 10**9]}}
    text = json.dumps(header).encode()
    file = tmp_path / "x.safetensors"
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + 100 * 10**9)
    with pytest.raises(
        CompressorError, match=r"W302 it holds 100,000,000,\d{3} bytes, and at most 4,294,967,296 are read"
    ):
        load_model(file)


def test_a_sparse_file_below_the_bound_is_not_read_for_a_shape_that_no_network_has(tmp_path: Path) -> None:
    size = 3 * 2**30
    header = {
        "model.1.anchors": {"dtype": "F32", "shape": [1, 1, 2], "data_offsets": [0, 8]},
        "model.1.m.0.weight": {"dtype": "F32", "shape": [6, size // 4 // 6, 1, 1], "data_offsets": [8, 8 + size]},
    }
    text = json.dumps(header).encode()
    file = tmp_path / "x.safetensors"
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + 8 + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="W3"):
        load_model(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_names_of_millions_of_letters_are_refused(tmp_path: Path) -> None:
    file = network(tmp_path / "x.safetensors", names=["x" * 5_000_000])
    with pytest.raises(CheckpointError, match="W307 a class name has 5,000,000 letters, and at most 1,000 are read"):
        load_model(file)
