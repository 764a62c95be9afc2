import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import (
    Generation,
    architecture_from_yaml,
    architecture_to_yaml,
    stock_architecture,
    stock_sizes,
)
from compressor.models.yolov5.build import build
from compressor.models.yolov5.describe import count_gflops, count_layers, summarise
from compressor.models.yolov5.detect import head_of
from compressor.models.yolov5.fuse import fuse
from tests.oracles import network
from tests.oracles.test_oracles import SIZES
from tests.oracles.vectors import NETWORKS, TINY, committed, noise
from trials.seeded import fill

ALL_STOCK: list[tuple[Generation, str]] = [
    *(("v5", size) for size in stock_sizes("v5")),
    *(("v6", size) for size in stock_sizes("v6")),
]


def expected_models(golden: Path) -> Any:
    return json.loads((golden / "models.json").read_text())["generations"]


@pytest.mark.parametrize(("generation", "size"), ALL_STOCK)
def test_sizes_layers_and_gflops_equal_upstream(golden: Path, generation: Generation, size: str) -> None:
    expected = expected_models(golden)[generation][f"yolov5{size}"]
    with torch.device("meta"):
        model = build(stock_architecture(generation, size))
    assert list(model.strides) == expected["strides"]
    for form in ("unfused", "fused"):
        numbers = expected[form]
        model = fuse(model) if form == "fused" else model
        assert sum(p.numel() for p in model.parameters()) == numbers["params"]
        assert len(list(model.parameters())) == numbers["param_tensors"]
        assert count_layers(model) == numbers["layers"]
        if generation == "v6":
            assert count_layers(model, shared_activation=True) == numbers["layers_v70"]
        assert count_gflops(model) == pytest.approx(numbers["gflops640_thop0031"], abs=1e-4)


@pytest.mark.parametrize(("generation", "size"), ALL_STOCK)
def test_state_dict_keys_and_shapes_are_those_of_the_layer_tables(generation: Generation, size: str) -> None:
    with torch.device("meta"):
        model = build(stock_architecture(generation, size))
    for fused in (False, True):
        model = fuse(model) if fused else model
        ours = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        assert ours == network.shapes(generation, size.endswith("6"), *SIZES[size[0]], 80, fused)


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("fused", [False, True])
def test_forward_equals_the_committed_vectors(case: str, fused: bool) -> None:
    generation, p6 = NETWORKS[case]
    stock = stock_architecture(generation, "s6" if p6 else "s", nc=3)
    model = fill(build(replace(stock, depth_multiple=TINY[0], width_multiple=TINY[1]))).eval()
    assert_outputs_equal_the_vectors(fuse(model) if fused else model, case)


def assert_outputs_equal_the_vectors(model: Detector, case: str) -> None:
    vectors = committed("forward")
    with torch.no_grad():
        raw = model(torch.from_numpy(noise(NETWORKS[case][1]))[None])
        decoded = head_of(model).decode(raw)
    for key, ours in [("decoded", decoded), *((f"raw{level}", tensor) for level, tensor in enumerate(raw))]:
        theirs, values = vectors[f"{case}.{key}"], ours[0].numpy()
        tolerance = 1e-5 * (np.abs(theirs) + 1) if key == "decoded" else 1e-5
        assert values.shape == theirs.shape
        assert np.all(np.abs(values - theirs) <= tolerance), f"{key}: {np.abs(values - theirs).max()}"


FORWARD = ["v6_n", "v6_s", "v6_m", "v6_l", "v6_x", "v6_n6", "v5_s", "v5_m", "v5_l", "v5_x", "v5_s6"]


@pytest.mark.parametrize("name", FORWARD)
def test_forward_equals_upstream(golden: Path, name: str) -> None:
    generation, size = name.split("_")
    model = fill(build(stock_architecture(generation, size))).eval()  # type: ignore[arg-type]
    assert_forward_equals_upstream(model, golden, name)
    assert_forward_equals_upstream(fuse(model), golden, name)


def assert_forward_equals_upstream(model: Detector, golden: Path, name: str) -> None:
    width = 192 if name.endswith("6") else 160
    image = np.random.RandomState(0).random_sample((1, 3, 128, width)).astype(np.float32)
    with torch.no_grad():
        raw = model(torch.from_numpy(image))
        decoded = head_of(model).decode(raw)
    expected = load_file(golden / "forward" / f"{name}.safetensors")
    for key, ours in [("decoded", decoded), *((f"raw{level}", tensor) for level, tensor in enumerate(raw))]:
        if key in expected:
            theirs, values = expected[key], ours.numpy()
        else:
            theirs, values = expected[f"{key}_value"], ours.numpy().reshape(-1)[expected[f"{key}_index"]]
        tolerance = 1e-5 * (np.abs(theirs) + 1) if key == "decoded" else 1e-5
        assert values.shape == theirs.shape
        assert np.all(np.abs(values - theirs) <= tolerance), f"{key}: {np.abs(values - theirs).max()}"


@pytest.mark.parametrize(("generation", "size"), ALL_STOCK)
def test_architecture_survives_upstream_notation(generation: Generation, size: str) -> None:
    architecture = stock_architecture(generation, size, nc=7)
    assert architecture.name == f"YOLOv5{size}"
    yaml = json.loads(json.dumps(architecture_to_yaml(architecture)))
    assert architecture_from_yaml(yaml, 7, architecture.anchors, "x.pt") == architecture


def test_summary_is_the_line_of_the_published_guide() -> None:
    with torch.device("meta"):
        model = fuse(build(stock_architecture("v5", "x")))
    summary = summarise(model)
    assert (summary.layers, summary.parameters, f"{summary.gflops:.1f}") == (476, 87_730_285, "218.8")
