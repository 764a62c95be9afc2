"""How much memory an evaluation takes beyond the network, by its number of images.

Run from the repository root: `.venv/bin/python benchmarks/evaluation_memory.py --images 250,500,1000,5000`. Drawn
images and a network that costs nothing and gives 300 detections on each, through `Evaluator.evaluate` as `apply`
calls it, draws of the images included. Every size runs in a process of its own; reported is the peak of its resident
memory above that of a process that has evaluated two images. Exits 1 where that is 2 GB or more, or where images seem
to be kept.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from compressor.data.dataset import load_dataset, read_split
from compressor.evaluation.evaluate import make_evaluator
from compressor.evaluation.network import Network
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation

MOST_MB = 2000
CLASSES, OBJECTS, DETECTIONS = 80, 7, 300  # COCO val2017 has 7.3 objects on an image
WIDTH, HEIGHT = 640, 480
IMAGE_MB = WIDTH * HEIGHT * 3 / 1e6


def draw(folder: Path, images: int) -> Path:
    """A data set of noisy pictures with COCO's density of objects; a picture is drawn once and linked."""
    random = np.random.RandomState(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    pictures = folder / "pictures"
    pictures.mkdir()
    for i in range(min(images, 16)):
        small = random.randint(0, 255, (HEIGHT // 16, WIDTH // 16, 3)).astype(np.uint8)
        cv2.imwrite(str(pictures / f"{i}.jpg"), cv2.resize(small, (WIDTH, HEIGHT)))
    for i in range(images):
        (folder / "images" / f"{i:06}.jpg").symlink_to(pictures / f"{i % 16}.jpg")
        boxes = np.column_stack((random.uniform(0.2, 0.8, (OBJECTS, 2)), random.uniform(0.05, 0.4, (OBJECTS, 2))))
        rows = (f"{random.randint(CLASSES)} {' '.join(f'{value:.5f}' for value in box)}" for box in boxes)
        (folder / "labels" / f"{i:06}.txt").write_text("\n".join(rows))
    yaml = folder / "drawn.yaml"
    yaml.write_text(f"path: {folder}\nval: images\nnc: {CLASSES}\n")
    return yaml


def fake_network() -> Network:
    """Gives 300 boxes far apart, of many classes, so that suppression keeps them all."""
    generator = torch.Generator().manual_seed(0)
    side = 18
    centres = torch.cartesian_prod(torch.arange(side), torch.arange(side))[:DETECTIONS].float() * 30 + 20

    def predict(images: Tensor) -> Tensor:
        rows = torch.zeros(len(images), DETECTIONS, 4 + CLASSES)
        rows[..., :2] = centres
        rows[..., 2:4] = torch.rand(len(images), DETECTIONS, 2, generator=generator) * 20 + 5
        classes = torch.randint(CLASSES, (len(images), DETECTIONS, 1), generator=generator)
        scores = torch.rand(len(images), DETECTIONS, 1, generator=generator) * 0.9 + 0.05
        return torch.cat((rows[..., :4], rows[..., 4:].scatter(2, classes, scores)), dim=2)

    names = tuple(f"class{i}" for i in range(CLASSES))
    return Network(names, (8, 16, 32), predict, torch.device("cpu"))


def measure(images: int) -> tuple[float, float, int]:
    """Peak MB of this process, seconds, and detections, of one evaluation."""
    with tempfile.TemporaryDirectory(prefix="memory") as folder:
        split = read_split(load_dataset(str(draw(Path(folder).resolve(), images))), "val")
        evaluator = make_evaluator(split, Evaluation(), torch.device("cpu"))
        start = time.perf_counter()
        evaluation, predictions = evaluator.evaluate(fake_network(), Silent(), "evaluate", resampled=True)
        seconds = time.perf_counter() - start
    assert evaluation.data.images == images and evaluation.metrics.coco.AP is not None
    assert len(predictions.scores) == images * DETECTIONS, "suppression took some"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds, len(predictions.scores)


def in_a_process(images: int) -> tuple[float, float, int]:
    command = [sys.executable, __file__, "--one", str(images)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    megabytes, seconds, detections = done.stdout.split()
    return float(megabytes), float(seconds), int(detections)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", default="250,500,1000,5000", help="numbers of images, ascending")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one))
        return
    base = in_a_process(2)[0]
    rows: list[tuple[int, float, float, float, int]] = []
    for images in map(int, options.images.split(",")):
        peak, seconds, detections = in_a_process(images)
        rows.append((images, peak - base, (peak - base) / images * 1000, seconds, detections))
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, load average {load}")
    print(f"{base:,.0f} MB after two images; images of {WIDTH} x {HEIGHT}, {IMAGE_MB:.2f} MB each when decoded\n")
    header = ("images", "MB beyond", "kB per image", "s", "detections")
    print(tabulate(rows, header, tablefmt="pipe", floatfmt=("", ".0f", ".0f", ".1f", "")))
    grown = (rows[-1][1] - rows[0][1]) / max(rows[-1][0] - rows[0][0], 1)
    faults = [f"{images} images take {over:,.0f} MB" for images, over, *_ in rows if over >= MOST_MB]
    if grown > IMAGE_MB / 2:
        faults.append(f"each further image takes {grown:.2f} MB: are decoded images kept?")
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
