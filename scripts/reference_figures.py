"""Evaluate the official YOLOv5n, dense and pruned, beside the figures of upstream itself, as in docs/conformance.md.

    COMPRESSOR_TEST_DATA=<folder> python scripts/reference_figures.py

The folder holds `data/`, with weights, images and the reference figures. Everything printed is measured in this run; it
takes about ten minutes on one core.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from compressor.artifact.load import load_model
from compressor.data.dataset import load_dataset, read_split
from compressor.evaluation.coco import COCO_NAMES
from compressor.evaluation.evaluate import make_evaluator
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.progress import Silent
from compressor.recipe.modifiers import Prune
from compressor.recipe.schema import Evaluation
from compressor.report.tables import Table
from compressor.results.evaluation import Metrics
from compressor.results.units import fraction

Allocation = Literal["uniform", "global"]
Order = Literal["before", "after"]  # pruned before or after BatchNorm is folded

COCO_KEYS = {
    "AP": "AP",
    "AP50": "AP50",
    "AP75": "AP75",
    "APs": "AP_small",
    "APm": "AP_medium",
    "APl": "AP_large",
    "AR1": "AR_1",
    "AR10": "AR_10",
    "AR100": "AR_100",
    "ARs": "AR_small",
    "ARm": "AR_medium",
    "ARl": "AR_large",
}
PRUNED: tuple[tuple[Order, Allocation], ...] = (
    ("after", "uniform"),
    ("after", "global"),
    ("before", "uniform"),
    ("before", "global"),
)


@dataclass(frozen=True)
class Case:
    """One model on one set: how it is pruned, and upstream's figures."""

    images: str
    batch_size: int
    order: Order | None
    allocation: Allocation | None
    coco: dict[str, float]
    own: dict[str, float] | None


def main() -> None:
    """Print the table as Markdown."""
    data = Path(os.environ["COMPRESSOR_TEST_DATA"]) / "data"
    rows = tuple(row(case, evaluate(case, data)) for case in cases(data))
    headers = ("images", "pruned 30 %", "batch", "AP", "upstream's", "largest difference of 12", "of P, R, mAP")
    print(Table(headers, rows, text_columns=2).markdown())


def cases(data: Path) -> list[Case]:
    """Every model that upstream's figures are known of at 0 and 30 %."""
    single = json.loads((data / "reference_batch1.json").read_text())
    eight = json.loads((data / "reference_metrics.json").read_text())["coco128"]
    found = [Case("coco_val", 1, None, None, single["coco_val"]["baseline"], None)]
    for order, allocation in PRUNED:
        key = f"{order}-{'layer' if allocation == 'uniform' else 'global'}-0.3"
        found.append(Case("coco_val", 1, order, allocation, single["coco_val"][key], None))
    own = single["coco128"]["baseline_yolov5"]
    found.append(Case("coco128", 1, None, None, single["coco128"]["baseline"], own))
    for record in eight:
        if record["amount"] in (0.0, 0.3):
            found.append(Case("coco128", 8, *_pruning(record), record["pycocotools"], record["yolov5"]))
    return found


def _pruning(record: dict[str, Any]) -> tuple[Order | None, Allocation | None]:
    if record["order"] is None:
        return None, None
    return ("after" if record["order"].startswith("after") else "before"), (
        "global" if "global" in record["method"] else "uniform"
    )


def evaluate(case: Case, data: Path) -> Metrics:
    """Our figures."""
    with tempfile.TemporaryDirectory() as folder:
        yaml = Path(folder) / "data.yaml"
        description = {
            "path": str((data / case.images).resolve()),
            "val": "images",
            "annotations": "annotations.json",
            "names": list(COCO_NAMES),
        }
        yaml.write_text(json.dumps(description))  # JSON is YAML
        split = read_split(load_dataset(str(yaml)), "val")
    model = load_model(data / "weights" / "yolov5n_coco.pt").model
    if case.order == "after":
        fuse(model)
    if case.allocation is not None:
        prune(convolutions(model), Prune(type="prune", allocation=case.allocation, sparsity=0.3))
    evaluator = make_evaluator(split, Evaluation(batch_size=case.batch_size), torch.device("cpu"))
    return evaluator.evaluate(model, Silent(), "evaluate")[0].metrics


def row(case: Case, metrics: Metrics) -> tuple[str, ...]:
    """One line of the table."""
    ours = asdict(metrics.coco)
    worst = max(abs(ours[key] - case.coco[theirs]) for key, theirs in COCO_KEYS.items())
    own = asdict(metrics.detection)
    worst_own = max(abs(own[key] - case.own[key]) for key in own) if case.own else None
    pruned = "-" if case.order is None else f"{case.allocation}, {case.order} folding BatchNorm"
    figures = (fraction(metrics.coco.AP), fraction(case.coco["AP"]), f"{worst:.5f}")
    return (case.images, pruned, str(case.batch_size), *figures, "-" if worst_own is None else f"{worst_own:.5f}")


if __name__ == "__main__":
    main()
