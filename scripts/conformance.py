"""Compare this implementation with golden vectors and real checkpoints of YOLOv5, as shown in docs/conformance.md.

    COMPRESSOR_TEST_DATA=<folder> python scripts/conformance.py [--device cuda]

The folder holds `spec/golden` and `data/weights`; the tests use the same. Everything printed is measured in this run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))  # for trials

from compressor.artifact.load import load_model
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.checkpoint import read_checkpoint
from compressor.models.yolov5.describe import summarise
from compressor.models.yolov5.detect import head_of
from compressor.models.yolov5.fuse import fuse
from compressor.plan.layers import convolutions
from compressor.report.tables import Table
from trials.seeded import fill, fill_array

FORWARD = ("v6_n", "v6_s", "v6_m", "v6_l", "v6_x", "v6_n6", "v5_s", "v5_m", "v5_l", "v5_x", "v5_s6")


def main() -> None:
    """Print all tables as Markdown."""
    parser = argparse.ArgumentParser(description="Compare with the golden vectors and real checkpoints.")
    parser.add_argument("--device", default="cpu", help="where the forward passes run; float16 on cuda")
    device = torch.device(parser.parse_args().device)
    data = Path(os.environ["COMPRESSOR_TEST_DATA"])
    golden, weights = data / "spec" / "golden", data / "data" / "weights"
    precision = "float16" if device.type == "cuda" else "float32"
    print(f"### Forward passes ({precision} on {device.type})\n\n{forward_table(golden, device).markdown()}\n")
    print(f"### Golden checkpoints\n\n{golden_checkpoint_table(golden / 'checkpoints').markdown()}\n")
    print(f"### Real checkpoints\n\n{real_checkpoint_table(weights).markdown()}")


def forward_table(golden: Path, device: torch.device) -> Table:
    """Largest difference of raw outputs (absolute) and decoded boxes (relative to |value| + 1), per model."""
    models = json.loads((golden / "models.json").read_text())["generations"]
    rows = []
    for name in FORWARD:
        generation, size = name.split("_")
        unfused = fill(build(stock_architecture(generation, size))).eval()  # type: ignore[arg-type]  # one of the two
        expected = load_file(golden / "forward" / f"{name}.safetensors")
        width = 192 if size.endswith("6") else 160
        numbers = [
            *_differences(unfused, expected, width, device),
            *_differences(fuse(unfused), expected, width, device),
        ]
        ours, theirs = summarise(unfused), models[generation][f"yolov5{size}"]["fused"]
        same = (ours.parameters, ours.layers) == (theirs["params"], theirs["layers"])
        gflops = abs(ours.gflops - theirs["gflops640_thop0031"]) < 1e-4
        rows.append(
            (
                f"{generation} {size}",
                *(f"{n:.1e}" for n in numbers),
                f"{ours.parameters:,}",
                "yes" if same and gflops else "NO",
            )
        )
    headers = (
        "model",
        "raw",
        "decoded",
        "raw, fused",
        "decoded, fused",
        "parameters, fused",
        "parameters, layers, GFLOPs equal",
    )
    return Table(headers, tuple(rows))


def _differences(
    model: Detector, expected: dict[str, NDArray[np.float32]], width: int, device: torch.device
) -> tuple[float, float]:
    image = np.random.RandomState(0).random_sample((1, 3, 128, width)).astype(np.float32)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    model = model.to(device, dtype)
    with torch.inference_mode():
        raw = model(torch.from_numpy(image).to(device, dtype))
        decoded = head_of(model).decode(raw)
    model.to("cpu", torch.float32)
    outputs = {"decoded": decoded, **{f"raw{level}": tensor for level, tensor in enumerate(raw)}}
    worst = {"raw": 0.0, "decoded": 0.0}
    for key, ours in outputs.items():
        values = ours.float().cpu().numpy()
        theirs = expected.get(key, expected.get(f"{key}_value"))
        assert theirs is not None
        values = values if key in expected else values.reshape(-1)[expected[f"{key}_index"]]
        scale = np.abs(theirs) + 1 if key == "decoded" else 1.0
        kind = "decoded" if key == "decoded" else "raw"
        worst[kind] = max(worst[kind], float((np.abs(values - theirs) / scale).max()))
    return worst["raw"], worst["decoded"]


def golden_checkpoint_table(folder: Path) -> Table:
    """Entries of each golden checkpoint that equal the filling rule in float16."""
    rows = []
    for path in sorted(folder.glob("*.pt")):
        checkpoint = read_checkpoint(path)
        equal = total = 0
        for key, value in checkpoint.model.state_dict().items():
            filled = fill_array(key, tuple(value.shape))
            if filled is not None:
                total += 1
                equal += np.array_equal(value.numpy(), filled.astype(np.float16).astype(np.float32))
        rows.append(
            (
                path.name,
                checkpoint.container,
                checkpoint.weights,
                ", ".join(checkpoint.model.names),
                f"{equal} of {total}",
            )
        )
    return Table(("file", "container", "weights", "classes", "tensors equal"), tuple(rows), text_columns=4)


def real_checkpoint_table(folder: Path) -> Table:
    """What each real checkpoint holds, and the largest change of a decoded value by folding BatchNorm."""
    rows = []
    image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".pt", ".safetensors"):
            continue
        loaded = load_model(path)
        model = loaded.model
        names = ", ".join(model.names[:3]) + (", ..." if len(model.names) > 3 else "")
        parameters = summarise(model).parameters
        with torch.inference_mode():
            before = model(image)
            after = fuse(model)(image)
        change = max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True))
        convs = len(convolutions(model))
        rows.append(
            (path.name, loaded.kind, f"{len(model.names)}: {names}", f"{parameters:,}", f"{convs}", f"{change:.1e}")
        )
    headers = ("file", "kind", "classes", "parameters", "convolutions", "raw output change by fusing")
    return Table(headers, tuple(rows), text_columns=3)


if __name__ == "__main__":
    main()
