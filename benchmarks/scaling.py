"""How cost grows: with images, with detections, with the size of the network; `scaling.md` is what it writes.

Run from the repository root: `.venv/bin/python benchmarks/scaling.py --ground-truth instances_val2017.json --output
benchmarks/scaling.md`. Time and memory of each step are told for growing inputs, and per unit: what grows linearly, or
less, shows the same number or a smaller one in every row. CPU seconds, median of the runs, one thread; memory is the
peak beyond what was held before.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from side_by_side import Make, Work, load, machine, measure, middle
from speed_judging import scene
from speed_pruning import ours as prune_work
from speed_running import one_image
from tabulate import tabulate
from torch import Tensor

from compressor.evaluation.bootstrap import resample
from compressor.evaluation.coco_engine import evaluate_coco
from compressor.evaluation.network import inference_network
from compressor.evaluation.nms import non_max_suppression
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.convolutions import convolutions_of
from compressor.models.yolov5.detect import scored

CPU = torch.device("cpu")
IMAGES = (250, 500, 1_000, 5_000)
DETECTIONS = (50, 100, 200, 300)
ROWS = (6_300, 12_600, 25_200, 102_000)  # the last are those of an image of 1,280 px
SIZES = "nsmlx"


def judged(file: Path, images: int, each: int = 220) -> Work:
    truth, predictions = scene(file, images, each)
    return Work(lambda: evaluate_coco(truth, predictions), answer=lambda _: None)


def judged_by_detections(file: Path, each: int) -> Work:
    return judged(file, 1_000, each)


def resampled(file: Path, images: int) -> Work:
    truth, predictions = scene(file, images)
    figures = evaluate_coco(truth, predictions)
    return Work(lambda: resample(figures), answer=lambda _: None)


def suppressed(rows: int) -> Work:
    random = np.random.RandomState(0)
    found = np.zeros((rows, 85), np.float32)
    found[:, :2], found[:, 2:4] = random.random_sample((rows, 2)) * 640, 10 + random.random_sample((rows, 2)) * 90
    found[:, 4], found[:, 5:] = random.random_sample(rows), random.random_sample((rows, 80)) ** 8
    predictions = scored(torch.from_numpy(found)[None])
    return Work(lambda: non_max_suppression(predictions, conf_thres=0.001, iou_thres=0.65), answer=lambda _: None)


def run(size: str) -> Work:
    torch.manual_seed(0)
    network = inference_network(build(stock_architecture("v6", size)).eval(), CPU)
    image: Tensor = one_image()
    return Work(torch.inference_mode()(lambda: network.predict(image)), answer=lambda _: None)


def millions(size: str) -> float:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(stock_architecture("v6", size)).parameters()) / 1e6


def gmacs(size: str) -> float:
    return sum(each.macs(640) for each in convolutions_of(stock_architecture("v6", size))) / 1e9


class Growth(NamedTuple):
    """One table: the title, what a cost is told per, and the cases with their units."""

    title: str
    unit: str
    cases: list[tuple[str, float, Make]]


def growths(file: Path) -> tuple[Growth, ...]:
    def by_count(counts: Sequence[int], make: Callable[[int], Work]) -> list[tuple[str, float, Make]]:
        return [(f"{count:,}", count, partial(make, count)) for count in counts]

    def by_size(units: Callable[[str], float], make: Callable[[str], Work]) -> list[tuple[str, float, Make]]:
        return [(f"YOLOv5{size}", units(size), partial(make, size)) for size in SIZES]

    global_pruning = partial(prune_work, allocation="global")
    detections = by_count(DETECTIONS, partial(judged_by_detections, file))
    return (
        Growth("COCO figures by images, 220 detections each", "image", by_count(IMAGES, partial(judged, file))),
        Growth("COCO figures of 1,000 images by detections of each", "detection of each", detections),
        Growth("1,000 draws of the images by images", "image", by_count(IMAGES, partial(resampled, file))),
        Growth("Outputs to detections by rows of outputs", "row", by_count(ROWS, suppressed)),
        Growth("Pruning by global threshold by network", "million parameters", by_size(millions, global_pruning)),
        Growth("Inference of one image by network", "GMAC", by_size(gmacs, run)),
    )


def table(growth: Growth, runs: int) -> str:
    rows = []
    for name, units, make in growth.cases:
        cost = middle(measure(make, runs))
        rows.append((name, f"{cost.cpu_s:.4g}", f"{1e3 * cost.cpu_s / units:.4g}", f"{cost.peak_mb:,.0f}"))
        print(growth.title, *rows[-1], flush=True)
    headers = ("", "CPU s", f"ms per {growth.unit}", "peak MB")
    align = ("left", "right", "right", "right")
    return f"## {growth.title}\n\n" + tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ground-truth", type=Path, required=True, help="COCO instances JSON of val2017, or gzipped")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, help="a Markdown file; otherwise the tables are only printed")
    options = parser.parse_args()
    before = load()
    tables = [table(growth, options.runs) for growth in growths(options.ground_truth)]
    busy = f"load average {before} before and {load()} after"
    head = f"{machine()}; {busy}; {datetime.date.today()}; one thread, median of {options.runs} runs."
    text = "\n\n".join(("# How cost grows", head, *tables)) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
