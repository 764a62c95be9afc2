"""What each score, allocation and repair keeps of a model's AP, with an interval over images.

Run from the repository root, with a checkpoint, a data set to judge on and other images to calibrate with:

    .venv/bin/python benchmarks/accuracy.py --weights yolov5n.pt --data coco_val250.yaml --calibrate coco128/images

Every cell is a recipe that is carried out and judged as `compressor apply` does it. A cell that is done is kept in
`benchmarks/accuracy.jsonl` and not done again, so a run can be ended and gone on with; `--only` picks cells by name,
and `--part 0/2` every second one for two processes. The table goes to `benchmarks/accuracy.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tabulate import tabulate

from compressor.data.dataset import load_dataset, read_split
from compressor.evaluation.bootstrap import average_precisions, resampled_weights
from compressor.evaluation.coco import Predictions
from compressor.evaluation.coco_engine import evaluate_coco
from compressor.evaluation.evaluate import Evaluator, make_evaluator
from compressor.models.detector import Detector
from compressor.plan.layers import convolutions
from compressor.progress import Silent
from compressor.recipe.load import load_recipe
from compressor.recipe.schema import Evaluation
from compressor.run.calibration import CalibrationImages
from compressor.run.folder import sha256
from compressor.run.job import Job, modify, open_job, storage

FOLDER = Path(__file__).parent
DONE = FOLDER / "accuracy.jsonl"
TABLE = FOLDER / "accuracy.md"
DENSE = "dense"
RESAMPLES = 500
SPARSITIES = (0.3, 0.5, 0.7)
SCORES = ("raw_magnitude", "folded_magnitude", "wanda", "random")
ALLOCATIONS = ("uniform", "global", "lamp", "erk")
CPU = torch.device("cpu")
ALIGNED = ("left",) * 3 + ("right",) * 5


@dataclass(frozen=True)
class Cell:
    """One combination: the goal, how weights are chosen, and what repairs them."""

    goal: str
    score: str
    allocation: str
    repair: str

    @property
    def name(self) -> str:
        return f"{self.goal} / {self.score} / {self.allocation} / {self.repair}"


@dataclass(frozen=True)
class Figure:
    """What a cell came to; the interval is that of the share kept, 95 %, over images drawn again.

    The key is all that figures may depend on beside the cell and the code: figures of other weights or images are not
    these. After a change of a method its lines have to be taken out of `accuracy.jsonl` by hand.
    """

    key: str
    name: str
    AP: float
    share: float
    low: float
    high: float
    sparsity: float
    cpu_s: float


def repairs(images: int, learning_rate: float) -> dict[str, list[dict[str, Any]]]:
    """The steps of each repair by its name; "distill" follows the solving that it starts from."""
    calibration = {"images": images}

    def step(method: str, **settings: Any) -> dict[str, Any]:
        return {"type": "repair", "method": method, "calibration": calibration, **settings}

    distilled = step("distill", learning_rate=learning_rate)
    solved = {method: step(method, crops=1, crop=512) for method in ("least_squares", "obs")}
    return {
        "none": [],
        **{method: [step(method)] for method in ("bias", "moments")},
        **{method: [each] for method, each in solved.items()},
        **{f"{method} + distill": [each, distilled] for method, each in solved.items()},
    }


def cells() -> Iterator[Cell]:
    """The best first, and then what shows why: other repairs, other scores, other allocations."""
    goals = [f"{100 * sparsity:g} %" for sparsity in SPARSITIES]
    for repair in ("least_squares", "obs", "obs + distill"):
        yield from (Cell(goal, "raw_magnitude", "lamp", repair) for goal in goals)
        yield Cell("2:4", "magnitude", "-", repair)
    yield Cell("30 %", "raw_magnitude", "lamp", "least_squares + distill")
    for goal in goals:
        for score in SCORES[:2]:
            yield from (Cell(goal, score, allocation, "none") for allocation in ALLOCATIONS)
    for repair in ("none", "bias", "moments"):
        yield Cell("2:4", "magnitude", "-", repair)
        yield from (Cell(goal, "raw_magnitude", "lamp", repair) for goal in goals if repair != "none")
    yield from (Cell("50 %", score, "lamp", repair) for score in SCORES[1:] for repair in ("none", "least_squares"))
    for allocation in ("global", "erk", "uniform"):
        yield Cell("50 %", "raw_magnitude", allocation, "least_squares")


def recipe(cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    """The cell as a recipe."""
    zeros = 0.5 if cell.goal == "2:4" else float(cell.goal.split()[0]) / 100
    prune: dict[str, Any] = {"type": "prune", "score": cell.score}
    if cell.goal == "2:4":
        prune |= {"pattern": "2:4", "ignore": ["stem", "detect"]}
    else:
        prune |= {"allocation": cell.allocation, "sparsity": zeros}
    if cell.score == "wanda":
        prune["calibration"] = {"images": options.images, "data": options.calibrate}
    steps = repairs(options.images, learning_rate=0.002 * zeros**2)[cell.repair]
    for step in steps:
        step["calibration"] = {**step["calibration"], "data": options.calibrate}
    return {"version": 1, "model": {"weights": options.weights}, "data": options.data, "modifiers": [prune, *steps]}


def opened(cell: Cell, options: argparse.Namespace) -> Job:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        file.write_text(yaml.safe_dump(recipe(cell, options)), encoding="utf-8")
        return open_job(load_recipe(file), Silent())


class Bench:
    """Judges models on the same images, and compares each with the dense one."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.weights = resampled_weights(len(evaluator.split.samples), RESAMPLES, seed=0)
        self.dense: tuple[float, Any] | None = None

    def judged(self, model: Detector) -> tuple[float, Any]:
        """AP, and AP on every resample."""
        evaluation, predictions = self.evaluator.evaluate(model, Silent(), "")
        return evaluation.metrics.coco.AP or 0.0, self.resampled(predictions, evaluation.metrics.coco.AP or 0.0)

    def resampled(self, predictions: Predictions, expected: float) -> Any:
        found = evaluate_coco(self.evaluator.ground_truth, predictions).matches
        once = average_precisions(found, np.ones((1, self.weights.shape[1]))).mean()
        assert abs(once - expected) < 1e-9, "the bootstrap's AP is not that of pycocotools"
        return average_precisions(found, self.weights).mean(axis=1)

    def figure(self, cell: Cell, job: Job, options: argparse.Namespace) -> Figure:
        if self.dense is None:
            self.dense = self.judged(job.model)
        judged_on = [sample.image for sample in self.evaluator.split.samples]
        images = CalibrationImages(job.recipe_file, judged_on, max(job.model.strides), Silent())
        start = time.process_time()
        changes = modify(job, images, CPU, Silent())
        cpu_s = time.process_time() - start
        storage(job, changes)
        found, resampled = self.judged(job.model)
        dense, dense_resampled = self.dense
        low, high = np.quantile(resampled / dense_resampled, (0.025, 0.975))
        layers = convolutions(job.model)
        sparsity = sum(layer.zeros for layer in layers) / sum(layer.weight.numel() for layer in layers)
        return Figure(key(options), cell.name, found, found / dense, float(low), float(high), sparsity, cpu_s)


def load_evaluator(options: argparse.Namespace) -> Evaluator:
    return make_evaluator(read_split(load_dataset(options.data), "val"), Evaluation(batch_size=1), CPU)


def key(options: argparse.Namespace) -> str:
    digest = sha256(Path(options.weights))[:12]
    folder = Path(options.calibrate)
    return f"{digest}, {Path(options.data).name}, {options.images} of {folder.parent.name}/{folder.name}"


def known(options: argparse.Namespace) -> dict[str, Figure]:
    lines = DONE.read_text(encoding="utf-8").splitlines() if DONE.exists() else []
    figures = (Figure(**json.loads(line)) for line in lines)
    return {figure.name: figure for figure in figures if figure.key == key(options)}


def tables(figures: dict[str, Figure], options: argparse.Namespace) -> str:
    """One table per goal, the best first."""
    blocks = [
        "<!-- written by benchmarks/accuracy.py -->",
        "# Accuracy kept, measured",
        f"`{Path(options.weights).name}`, judged on `{Path(options.data).name}`, batch 1, float16 as saved; calibrated "
        f"on {options.images} images of `{Path(options.calibrate).parent.name}`, none of which is judged on. Share: of "
        f"the dense model's AP, with a 95 % interval from {RESAMPLES} paired bootstrap resamples of the images. CPU "
        f"seconds: of the modifiers, on {platform.machine()}; other work on the machine makes them more.",
    ]
    for goal in (*(f"{100 * sparsity:g} %" for sparsity in SPARSITIES), "2:4"):
        mine = sorted((f for f in figures.values() if f.name.startswith(f"{goal} / ")), key=lambda f: -f.AP)
        rows = [
            (
                *figure.name.split(" / ")[1:],
                f"{figure.AP:.4f}",
                f"{100 * figure.share:.1f} %",
                f"{100 * figure.low:.1f} to {100 * figure.high:.1f} %",
                f"{100 * figure.sparsity:.2f} %",
                f"{figure.cpu_s:.0f}",
            )
            for figure in mine
        ]
        headers = ("score", "allocation", "repair", "AP", "kept", "95 % interval", "zeros", "CPU s")
        blocks += [f"## {goal}", tabulate(rows, headers, tablefmt="pipe", colalign=ALIGNED)]
    return "\n\n".join(blocks) + "\n"


def load() -> str:
    """What else the machine did, as the mean number of running processes."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True, help="dataset YAML whose val split is judged on")
    parser.add_argument("--calibrate", required=True, help="folder of images without labels")
    parser.add_argument("--images", type=int, default=128, help="how many of them")
    parser.add_argument("--only", default="", help="a part of the names of the cells to do")
    parser.add_argument("--part", default="0/1", help="which of how many processes this is")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    bench = None
    chosen = dict.fromkeys(cell for cell in cells() if options.only in cell.name)
    for index, cell in enumerate(chosen):
        if index % parts != part or cell.name in known(options):
            continue
        bench = bench or Bench(load_evaluator(options))
        figure = bench.figure(cell, opened(cell, options), options)
        with DONE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(figure)) + "\n")
        print(f"{cell.name}: AP {figure.AP:.4f}, {100 * figure.share:.1f} % kept, {figure.cpu_s:.0f} CPU s", flush=True)
    print(f"{os.cpu_count()} cores, load {load()}")
    TABLE.write_text(tables(known(options), options), encoding="utf-8")


if __name__ == "__main__":
    main()
