"""The official YOLOv5n on real images beside the figures measured with upstream's own code."""

import json
from pathlib import Path

import pytest
import torch

from compressor.artifact.load import load_model
from compressor.data.dataset import Split, load_dataset, read_split
from compressor.evaluation.coco import COCO_NAMES
from compressor.evaluation.evaluate import make_evaluator
from compressor.models.detector import Detector
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.progress import Silent
from compressor.recipe.modifiers import Prune
from compressor.recipe.schema import Evaluation
from compressor.results.evaluation import CocoMetrics, Metrics
from trials.commands import compressor

NAMES = {
    **{"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APs": "AP_small", "APm": "AP_medium", "APl": "AP_large"},
    **{"AR1": "AR_1", "AR10": "AR_10", "AR100": "AR_100", "ARs": "AR_small", "ARm": "AR_medium", "ARl": "AR_large"},
}


def write_yaml(folder: Path, images: Path) -> Path:
    description = {"path": str(images), "val": "images", "annotations": "annotations.json", "names": list(COCO_NAMES)}
    yaml = folder / "data.yaml"
    yaml.write_text(json.dumps(description))  # JSON is YAML
    return yaml


def differences(ours: CocoMetrics, theirs: dict[str, float]) -> dict[str, float]:
    return {name: abs(getattr(ours, name) - theirs[key]) for name, key in NAMES.items()}


def evaluate(model: Detector, split: Split, batch_size: int) -> Metrics:
    evaluator = make_evaluator(split, Evaluation(batch_size=batch_size), torch.device("cpu"))
    return evaluator.evaluate(model, Silent(), "evaluate")[0].metrics


def test_dense_model_equals_upstream_at_batch_1(shared: Path, tmp_path: Path) -> None:
    reference = json.loads((shared / "data" / "reference_batch1.json").read_text())["coco128"]
    yaml = write_yaml(tmp_path, shared / "data" / "coco128")
    weights = shared / "data" / "weights" / "yolov5n_coco.pt"
    done = compressor(
        "evaluate", weights, "--data", yaml, "--batch-size", "1", "--json", "--device", "cpu", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)["metrics"]
    assert max(differences(CocoMetrics(**metrics["coco"]), reference["baseline"]).values()) < 0.001
    for key in ("P", "R", "mAP50", "mAP50_95"):
        assert metrics["detection"][key] == pytest.approx(reference["baseline_yolov5"][key], abs=0.002)


def test_pruned_model_equals_upstream_at_batch_8(shared: Path, tmp_path: Path) -> None:
    records = json.loads((shared / "data" / "reference_metrics.json").read_text())["coco128"]
    reference = next(r for r in records if (r["amount"], r["order"]) == (0.3, "after fusing BatchNorm"))
    model = fuse(load_model(shared / "data" / "weights" / "yolov5n_coco.pt").model)
    prune(convolutions(model), Prune(type="prune", allocation="uniform", sparsity=0.3))
    split = read_split(load_dataset(str(write_yaml(tmp_path, shared / "data" / "coco128"))), "val")
    metrics = evaluate(model, split, batch_size=8)
    assert max(differences(metrics.coco, reference["pycocotools"]).values()) < 0.003
    for key in ("P", "R", "mAP50", "mAP50_95"):
        assert getattr(metrics.detection, key) == pytest.approx(reference["yolov5"][key], abs=0.002)
