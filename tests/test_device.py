"""On the device that COMPRESSOR_TEST_DEVICE names what a CPU gives, within the device's number type.

`make gpu` runs these on CUDA; without the variable they run on the CPU, which proves the tests themselves.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from compressor.artifact.load import load_model
from compressor.evaluation.network import inference_network
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.detect import scored
from compressor.plan.layers import convolutions
from trials.commands import compressor
from trials.seeded import fill
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

pytestmark = pytest.mark.gpu
DEVICE = os.environ.get("COMPRESSOR_TEST_DEVICE", "cpu")
CUDA = DEVICE.startswith("cuda")
LONG = pytest.mark.skipif(not CUDA, reason="tests/modifiers has it on the CPU; here another device is compared with it")
# Of an image of 160 px: float16 has 11 bits, and its error grows through 60 layers of random weights.
BOX_PX, PROBABILITY = (2.0, 0.02) if CUDA else (1e-3, 1e-5)


@pytest.mark.parametrize("name", ["v6_n", "v6_s", "v5_s", "v6_n6"])
def test_forward_equals_upstream(golden: Path, name: str) -> None:
    generation, size = name.split("_")
    model = fill(build(stock_architecture(generation, size))).eval()  # type: ignore[arg-type]
    network = inference_network(model, torch.device(DEVICE))
    assert network.dtype == (torch.float16 if CUDA else torch.float32)
    width = 192 if size.endswith("6") else 160
    image = np.random.RandomState(0).random_sample((1, 3, 128, width)).astype(np.float32)
    with torch.inference_mode():
        decoded = network.predict(torch.from_numpy(image).to(DEVICE, network.dtype)).cpu().numpy()
    decoded_by_upstream = torch.from_numpy(load_file(golden / "forward" / f"{name}.safetensors")["decoded"])
    expected = scored(decoded_by_upstream).numpy()
    assert decoded.dtype == np.float32  # boxes are decoded in it, whatever the network runs in
    assert np.abs(decoded[..., :4] - expected[..., :4]).max() < BOX_PX
    assert np.abs(decoded[..., 4:] - expected[..., 4:]).max() < PROBABILITY


REPAIR = """  - type: repair
    method: {method}
    calibration: {{images: 4, image_size: 64}}
"""


@pytest.mark.parametrize(
    "method", ["least_squares", *(pytest.param(name, marks=LONG) for name in (None, "obs", "distill"))]
)
def test_a_run_gives_the_zeros_and_figures_of_a_cpu(tmp_path: Path, method: str | None) -> None:
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    recipe = tiny_recipe(tmp_path)
    if method:
        text = recipe.read_text("utf-8")
        recipe.write_text(text.replace("evaluation:", REPAIR.format(method=method) + "evaluation:"), "utf-8")
    records: list[Any] = []
    models: list[Detector] = []
    for device in ("cpu", DEVICE):
        folder = f"on_{device.replace(':', '')}_{len(records)}"
        done = compressor("apply", recipe.name, "--device", device, "--output", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        records.append(json.loads((tmp_path / folder / "run.json").read_text("utf-8")))
        models.append(load_model(tmp_path / folder / "model.safetensors").model)
    assert records[1]["environment"]["device"] == (torch.cuda.get_device_name(DEVICE) if CUDA else "cpu")
    for ours, theirs in zip(*(convolutions(model) for model in models), strict=True):
        zeros, weights = ours.weight == 0, theirs.weight
        if method != "obs":  # which chooses by sums of products, and so by the last bits of activations
            assert torch.equal(zeros, weights == 0), ours.name
        assert int(zeros.sum()) == int((weights == 0).sum())
    for side in ("baseline", "compressed"):
        figures = [record[side]["metrics"]["coco"]["AP"] for record in records]
        assert figures[0] == pytest.approx(figures[1], abs=0.01 if CUDA else 0)
