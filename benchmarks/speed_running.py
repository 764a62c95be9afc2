"""Images, inference, whole evaluations and loading beside the plain ways; see `speed.py`."""

from __future__ import annotations

import argparse
import copy
import hashlib
import os
import tempfile
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import plain
import torch
from side_by_side import Comparison, Work, compare
from torch import Tensor

from compressor.data.batches import BatchPlan, load_batches, plan_batches
from compressor.data.dataset import Split, load_dataset, read_split
from compressor.evaluation.evaluate import make_evaluator
from compressor.evaluation.network import inference_network
from compressor.export.checkpoint import checkpoint_bytes
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.checkpoint import read_checkpoint
from compressor.models.yolov5.fuse import fuse
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation as Settings
from compressor.recipe.schema import Precision

IMAGE_SIZE, BATCH_SIZE, STRIDE = 640, 8, 32
CPU = torch.device("cpu")
CORES = os.cpu_count() or 1
INFERENCE_LIMITS: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 0.5}  # of outputs
AP_LIMITS: dict[Precision, float] = {"float32": 5e-4, "bfloat16": 2e-3}


def images(options: argparse.Namespace) -> list[Comparison]:
    data, runs = options.data, options.runs
    peer = ("cv2, image after image", partial(read_plainly, data))
    name = f"decode and letterbox, all images, {CORES} threads"
    return [compare(name, peer, partial(read_by_us, data), same_pixels, runs=runs)]


def split_of(data: str) -> tuple[Split, tuple[BatchPlan, ...]]:
    split = read_split(load_dataset(data), "val")
    return split, plan_batches(split.samples, IMAGE_SIZE, BATCH_SIZE, STRIDE)


def read_plainly(data: str) -> Work:
    _, plans = split_of(data)
    return Work(lambda: [plain.read(plan, IMAGE_SIZE)[0] for plan in plans], answer=digest_of_pixels)


def read_by_us(data: str) -> Work:
    _, plans = split_of(data)
    return Work(lambda: [batch.images for batch in load_batches(plans, IMAGE_SIZE, "ceil")], answer=digest_of_pixels)


def digest_of_pixels(batches: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(batch.contiguous().numpy().tobytes())
    return digest.hexdigest()


def same_pixels(theirs: str, mine: str) -> str:
    assert theirs == mine, "other pixels"
    return "same pixels"


def inference(options: argparse.Namespace) -> list[Comparison]:
    found = []
    for size in ("n", "s"):
        weights = options.weights if size == "n" else None
        peer = partial(run_eagerly, size, weights)
        for threads in sorted({1, CORES}):
            for precision, limit in INFERENCE_LIMITS.items():
                name = f"YOLOv5{size}, one image, {precision}, {threads} thread{'s' if threads > 1 else ''}"
                work, same = partial(run_by_us, size, weights, precision), partial(close, limit)
                compared = compare(name, ("eager, fused", peer), work, same, runs=2 * options.runs + 1, threads=threads)
                found.append(compared)
    return found


def model_of(size: str, weights: Path | None) -> Detector:
    if weights is not None:
        return read_checkpoint(weights).model
    torch.manual_seed(0)
    return build(stock_architecture("v6", size)).eval().requires_grad_(False)


def one_image() -> Tensor:
    return torch.rand(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))


def run_eagerly(size: str, weights: Path | None) -> Work:
    model, image = fuse(model_of(size, weights)).eval(), one_image()
    family = family_of(model)
    run = torch.inference_mode()(lambda: family.decode(model, model(image)))
    return Work(run, answer=lambda found: found.numpy())


def run_by_us(size: str, weights: Path | None, precision: Precision) -> Work:
    network = inference_network(model_of(size, weights), CPU, precision)
    image = one_image().to(network.dtype).contiguous(memory_format=torch.channels_last)
    return Work(torch.inference_mode()(lambda: network.predict(image)), answer=lambda found: found.numpy())


def close(limit: float, theirs: Any, mine: Any) -> str:
    """Differences in boxes count in parts of the image's side, of which every number then has its share."""
    scale = np.ones(theirs.shape[-1], np.float32)
    scale[:4] = IMAGE_SIZE
    most = float((np.abs(theirs - mine) / scale).max())
    assert most <= limit, f"outputs differ by {most}"
    return f"within {most:.1g}"


def evaluate(options: argparse.Namespace) -> list[Comparison]:
    peer = ("eager, C loop, pycocotools", partial(evaluate_plainly, options.data, options.weights))
    found = []
    for precision, limit in AP_LIMITS.items():
        work, same = partial(evaluate_by_us, options.data, options.weights, precision), partial(close_figures, limit)
        name = f"evaluate YOLOv5n, {precision}, {CORES} threads"
        found.append(compare(name, peer, work, same, runs=options.runs, threads=CORES))
    return found


def evaluate_plainly(data: str, weights: Path) -> Work:
    split, plans = split_of(data)
    truth = make_evaluator(split, Settings(), CPU).ground_truth
    model = fuse(copy.deepcopy(read_checkpoint(weights).model)).eval()
    return Work(lambda: plain.evaluate(model, plans, IMAGE_SIZE, truth))


def evaluate_by_us(data: str, weights: Path, precision: Precision) -> Work:
    split, _ = split_of(data)
    evaluator = make_evaluator(split, Settings(batch_size=BATCH_SIZE, precision=precision), CPU)
    model = read_checkpoint(weights).model

    def run() -> list[float]:
        evaluation, _ = evaluator.evaluate(model, Silent(), "evaluate")
        return [-1.0 if figure is None else figure for figure in astuple(evaluation.metrics.coco)]

    return Work(run)


def close_figures(limit: float, theirs: list[float], mine: list[float]) -> str:
    """AP and AP50 have to be close; how far the others, of fewer objects or stricter overlaps, differ is told."""
    differences = [abs(one - other) for one, other in zip(theirs, mine, strict=True)]
    assert max(differences[:2]) <= limit, f"AP, AP50 {theirs[:2]}, ours {mine[:2]}"
    return f"AP {theirs[0]:.4f}, ours {mine[0]:.4f}; all 12 within {max(differences):.1g}"


def loading(options: argparse.Namespace) -> list[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, state = Path(folder) / "model.pt", Path(folder) / "state_dict.pt"
        model = model_of(options.size, None)
        checkpoint.write_bytes(checkpoint_bytes(model, torch.float16))
        torch.save({name: _half(tensor) for name, tensor in model.state_dict().items()}, state)
        name = f"load YOLOv5{options.size}, {checkpoint.stat().st_size / 1e6:.0f} MB, to float32"
        peer = ("torch.load of a state dict", partial(load_plainly, state, options.size))
        return [compare(name, peer, partial(load_by_us, checkpoint), same_weights, runs=options.runs)]


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def load_plainly(file: Path, size: str) -> Work:
    def run() -> Detector:
        model = build(stock_architecture("v6", size))
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.float().eval()

    return Work(run, answer=digest_of)


def load_by_us(file: Path) -> Work:
    return Work(lambda: read_checkpoint(file).model, answer=digest_of)


def digest_of(model: Detector) -> str:
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


def same_weights(theirs: str, mine: str) -> str:
    assert theirs == mine, "other weights"
    return "same weights"
