"""What repairing a network costs: CPU seconds, wall seconds and peak memory, by size of the network.

Run from the repository root: `.venv/bin/python benchmarks/repair_cost.py --calibrate FOLDER --sizes n x`. The weights
are random, which changes neither the time nor the memory. Every size runs in a process of its own, after the peer: a
forward pass of the dense network over one image of 640 px, the mean of four. The zeros are counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from typing import Literal

import torch
from tabulate import tabulate

from compressor.data.calibration import draw, find_calibration_images, load_images
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.apply import apply_steps
from compressor.modifiers.state import Context, State
from compressor.modifiers.steps import resolve
from compressor.plan.layers import convolutions, outlined
from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.modifiers.step import Calibration
from compressor.recipe.nodes import Place

PEER_IMAGES = 4


class _Nowhere:
    def place(self, *location: str | int) -> Place:
        return Place("benchmark")

    key_place = place


def random_network(size: str) -> Detector:
    """A network with seeded weights, with BatchNorm statistics under which its outputs neither vanish nor explode."""
    torch.manual_seed(0)
    model = build(stock_architecture("v6", size)).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
            module.momentum = None
    model(torch.rand(1, 3, 320, 320))
    return model.eval()


def measured(
    size: str, folder: str, images: int, method: Literal["least_squares", "obs"], crops: int
) -> dict[str, float | str]:
    model = fuse(random_network(size))
    prune = Prune(type="prune", allocation="lamp", sparsity=0.5)
    calibration = Calibration(images=images)
    repair = Repair(type="repair", method=method, crops=crops, calibration=calibration)
    steps = resolve([prune, repair], outlined(convolutions(model)), _Nowhere())
    known = load_images(draw(find_calibration_images(folder, "train"), images, 0), 640)
    start = time.process_time()
    with torch.inference_mode():
        for image in known[:PEER_IMAGES]:
            model(image[None])
    peer_cpu_s = (time.process_time() - start) / PEER_IMAGES
    start, clock = time.process_time(), time.perf_counter()
    apply_steps(steps, State.before(steps, model, model), Context(lambda _: known, torch.device("cpu")))
    cpu_s, wall_s = time.process_time() - start, time.perf_counter() - clock
    layers = convolutions(model)
    zeros, weights = sum(layer.zeros for layer in layers), sum(layer.weight.numel() for layer in layers)
    assert zeros == round(0.5 * weights), "the repair has lost or added zeros"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "network": f"YOLOv5{size}",
        "method": method,
        "images": f"{images} x {crops} crops of {repair.crop}",
        "forward_cpu_s": peer_cpu_s,
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "ratio": cpu_s / peer_cpu_s,
        "peak_GB": peak / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", required=True, help="folder of images")
    parser.add_argument("--sizes", nargs="+", default=["n", "x"], choices=list("nsmlx"))
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--crops", type=int, default=1)
    parser.add_argument("--method", default="least_squares", choices=["least_squares", "obs"])
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            arguments = (size, options.calibrate, options.images, options.method, options.crops)
            rows.append(pool.apply(measured, arguments))
        print(json.dumps(rows[-1]), flush=True)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load {load}")
    print(tabulate(rows, headers="keys", tablefmt="pipe", floatfmt=".1f"))


if __name__ == "__main__":
    main()
