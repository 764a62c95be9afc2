"""Networks whose convolutions have widths of their own: described, built, summarised, saved and read back."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from compressor.artifact.load import load_model
from compressor.artifact.save import FORMAT, WIDTHS_FORMAT, Form, Provenance, encode_model, round_to_dtype
from compressor.errors import CheckpointError
from compressor.export.checkpoint import checkpoint_bytes
from compressor.export.state_dict import state_dict_bytes
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import (
    Architecture,
    Row,
    architecture_from_yaml,
    architecture_to_yaml,
    stock_architecture,
)
from compressor.models.yolov5.build import build
from compressor.models.yolov5.convolutions import convolutions_of, with_widths
from compressor.models.yolov5.describe import summarise
from compressor.models.yolov5.fuse import fuse
from compressor.plan.layers import convolutions
from tests.decoded import predict
from tests.models.yolov5.arithmetic import macs_of_weights
from trials.seeded import fill
from trials.tiny import NAMES

FROM = Provenance({"version": 1}, "tiny.pt", "ab" * 32)
V6 = replace(stock_architecture("v6", "n", nc=3), width_multiple=0.0625)  # 8, 8, 16, 32 and 64 channels
V5 = replace(stock_architecture("v5", "s", nc=3), width_multiple=0.0625)
GROUPED = replace(V6, backbone=(*V6.backbone[:1], Row((-1,), 1, "Conv", (128, 3, 2, 1, 4)), *V6.backbone[2:]))
CASES: dict[str, tuple[Architecture, Mapping[str, int]]] = {
    "hidden of a bottleneck": (V6, {"model.2.m.0.cv1.conv": 3}),
    "beside the bottlenecks": (V6, {"model.4.cv2.conv": 5}),
    "through the bottlenecks": (V6, {"model.2.cv1.conv": 3, "model.2.m.0.cv2.conv": 3}),
    "bottleneck without shortcut": (V6, {"model.13.m.0.cv2.conv": 7, "model.13.cv1.conv": 9}),
    "a C3 that is concatenated": (V6, {"model.4.cv3.conv": 13, "model.10.conv": 21}),
    "a C3 that is detected on": (V6, {"model.23.cv3.conv": 50}),
    "the stem and wider": (V6, {"model.0.conv": 5, "model.1.conv": 12}),
    "SPPF": (V6, {"model.9.cv1.conv": 11, "model.9.cv2.conv": 37, "model.8.cv3.conv": 61}),
    "Focus and SPP": (V5, {"model.0.conv.conv": 6, "model.7.conv": 60, "model.8.cv1.conv": 9}),
    "groups": (GROUPED, {"model.1.conv": 4, "model.0.conv": 12}),
}


def narrowed(name: str) -> Architecture:
    table, widths = CASES[name]
    return with_widths(table, widths)


def network(architecture: Architecture, *, fused: bool = False) -> Detector:
    model = fill(build(architecture, NAMES)).eval().requires_grad_(False)
    return fuse(model) if fused else model


def output(model: Detector) -> torch.Tensor:
    return predict(model, torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", CASES)
def test_the_network_that_is_built_has_just_the_widths_described(name: str) -> None:
    table, widths = CASES[name]
    architecture = with_widths(table, widths)
    assert dict(architecture.widths) == widths
    model = network(architecture)
    modules = {key: module for key, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    assert {key: modules[key].out_channels for key in widths} == widths
    stock = {each.name: each.c_out for each in convolutions_of(table)}
    assert {key: module.out_channels for key, module in modules.items() if key not in widths} == {
        key: width for key, width in stock.items() if key not in widths
    }
    found = convolutions_of(architecture)
    assert [each.name for each in found] == list(modules)
    assert [(each.shape, each.groups) for each in found] == [
        (tuple(module.weight.shape), module.groups) for module in modules.values()
    ]
    assert [layer.summary.shape for layer in convolutions(model)] == [each.shape for each in found]
    assert torch.isfinite(output(model)).all()
    assert {each.name: each.macs(max(model.strides)) for each in found} == macs_of_weights(model)


@pytest.mark.parametrize("name", ["hidden of a bottleneck", "Focus and SPP"])
def test_its_summary_counts_what_is_there(name: str) -> None:
    model, stock = network(narrowed(name)), network(CASES[name][0])
    ours, theirs = summarise(model), summarise(stock)
    assert ours.parameters == sum(tensor.numel() for tensor in model.parameters()) < theirs.parameters
    assert ours.gflops < theirs.gflops
    assert ours.layers == theirs.layers
    assert ours.name == f"{theirs.name.removesuffix(')')}, {len(CASES[name][1])} other widths)"


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_an_artifact_of_it_reads_back_as_the_same_network(name: str, tmp_path: Path, *, fused: bool) -> None:
    model = network(narrowed(name), fused=fused)
    round_to_dtype(model, "float16")
    data = encode_model(model, Form("float16", "bitmask", fold_on_load=not fused), FROM)
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with safe_open(file, "np") as opened:
        metadata = json.loads(opened.metadata()["compressor"])
    assert metadata["format"] == WIDTHS_FORMAT
    assert metadata["architecture"]["widths"] == CASES[name][1]
    found = load_model(file)
    assert found.stored.spec == model.spec
    assert encode_model(found.stored, Form("float16", "bitmask", fold_on_load=not fused), FROM) == data
    assert torch.equal(output(found.model), output(fuse(copy.deepcopy(model))))


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_and_a_state_dict_of_it_read_back_as_the_same_network(name: str, tmp_path: Path) -> None:
    model = network(narrowed(name))
    checkpoint, state_dict = tmp_path / "model.pt", tmp_path / "model.safetensors"
    checkpoint.write_bytes(checkpoint_bytes(model, torch.float32))
    state_dict.write_bytes(state_dict_bytes(model, "float32"))
    for file in (checkpoint, state_dict):
        found = load_model(file).model
        assert found.spec.widths == model.spec.widths
        assert torch.equal(output(found), output(model))


def test_other_networks_are_stored_as_before(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(encode_model(network(V6), Form("float32", "dense"), FROM))
    with safe_open(file, "np") as opened:
        metadata = json.loads(opened.metadata()["compressor"])
    assert metadata["format"] == FORMAT == "compressor/artifact/1"
    assert "widths" not in metadata["architecture"]
    assert "widths" not in architecture_to_yaml(V6)


def test_widths_that_follow_from_the_table_are_not_held() -> None:
    stock = {each.name: each.c_out for each in convolutions_of(V6)}
    assert with_widths(V6, {"model.0.conv": stock["model.0.conv"]}) == V6
    once = with_widths(V6, {"model.4.cv2.conv": 5, "model.10.conv": 21})
    assert with_widths(with_widths(V6, {"model.10.conv": 21}), {"model.4.cv2.conv": 5}) == once
    assert with_widths(once, {name: stock[name] for name, _ in once.widths}) == V6
    written = json.loads(json.dumps(architecture_to_yaml(once)))
    assert architecture_from_yaml(written, 3, once.anchors, "x.pt") == once


@pytest.mark.parametrize(
    ("architecture", "widths", "message"),
    [
        (V6, {"model.2.cv1.conv": 3}, "model.2.m.0.cv2.conv gives 4 channels, and the shortcut around it 3"),
        (V6, {"model.2.m.0.cv2.conv": 3}, "model.2.m.0.cv2.conv gives 3 channels, and the shortcut around it 4"),
        (V6, {"model.2.cv4.conv": 3}, "there is no convolution 'model.2.cv4.conv'"),
        (V6, {"model.24.m.0": 3}, "there is no convolution 'model.24.m.0' that could have a width of its own"),
        (V6, {"model.0.conv": 0}, "model.0.conv has the width 0, and it must be at least 1"),
        (V6, {"model.0.conv": -8}, "model.0.conv has the width -8"),
        (GROUPED, {"model.1.conv": 6}, "model.1.conv takes 8 channels and gives 6 in 4 groups"),
        (GROUPED, {"model.0.conv": 6}, "model.1.conv takes 6 channels and gives 8 in 4 groups"),
    ],
)
def test_widths_that_do_not_go_together_are_refused(
    architecture: Architecture, widths: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace(".", "[.]")):
        with_widths(architecture, widths)


def test_modules_of_another_shape_than_described_are_noticed() -> None:
    model = network(V6)
    model.spec = narrowed("a C3 that is concatenated")
    with pytest.raises(ValueError, match="not those of its architecture"):
        convolutions(model)


@pytest.mark.parametrize("widths", [{"model.4.cv2.conv": 6}, {}])
def test_tensors_that_do_not_fit_the_widths_are_refused_by_name(widths: dict[str, int], tmp_path: Path) -> None:
    model = network(narrowed("beside the bottlenecks"))
    model.spec = with_widths(V6, widths)
    file = tmp_path / "model.safetensors"
    file.write_bytes(encode_model(model, Form("float32", "dense"), FROM))
    with pytest.raises(CheckpointError, match=r"W305 model[.]4[.]cv2[.]conv[.]weight is \[5, 16, 1, 1\] in the file"):
        load_model(file)
