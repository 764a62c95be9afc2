"""Train the small YOLOv5 that ships with compressor, on the data set it draws itself.

    python scripts/train_shapes.py compressor/data/weights/yolov5_shapes.safetensors

About 25 minutes on one core. The same seed on the same machine gives the same weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import torch
from safetensors.torch import save

from compressor.data.dataset import load_dataset, read_split
from compressor.data.shapes import NAMES, shapes_dataset
from compressor.models.detector import Detector
from compressor.models.losses import LossSettings
from compressor.models.yolov5.architecture import Architecture, architecture_to_yaml, stock_architecture
from compressor.models.yolov5.build import build
from compressor.training.augment import AugmentSettings
from compressor.training.optimiser import OptimiserSettings
from compressor.training.train import Course, EpochLosses, Hyperparameters, train

IMAGE_SIZE = 256
SEED = 0


def main() -> None:
    """Train, printing the losses of every epoch, and save."""
    parser = argparse.ArgumentParser(description="Train the YOLOv5 that ships with compressor.")
    parser.add_argument("output", type=Path, help="the .safetensors file to write")
    parser.add_argument("--epochs", type=int, default=150, help="passes over the training images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(SEED)
    model = build(shapes_architecture(), NAMES)
    samples = read_split(load_dataset(str(shapes_dataset())), "train").samples
    course = Course(options.epochs, batch_size=16, image_size=IMAGE_SIZE, seed=SEED, plain_epochs=10)
    trained = train(model, samples, HYPERPARAMETERS, course, show)
    write(trained, options.output)


def shapes_architecture() -> Architecture:
    """YOLOv5n at half its width; the stock anchors, made for 640 px, scaled to 256 px."""
    stock = stock_architecture("v6", "n", nc=len(NAMES))
    scale = IMAGE_SIZE / 640
    anchors = tuple(tuple((width * scale, height * scale) for width, height in level) for level in stock.anchors)
    return replace(stock, width_multiple=0.125, anchors=anchors)


# A few hundred images and minutes, not a hundred thousand and days: AdamW, few mosaics, and gains that make up for
# what `LossSettings.scaled` takes off at 4 classes and 256 px.
HYPERPARAMETERS = Hyperparameters(
    loss=LossSettings(box=0.3, obj=3.0, cls=4.0),
    optimiser=OptimiserSettings(algorithm="adamw", lr0=0.004, warmup_bias_lr=0.004, nominal_batch_size=16),
    augment=AugmentSettings(mosaic=0.1, scale=0.4),
)


def show(losses: EpochLosses) -> None:
    """One line per epoch on stderr."""
    terms = f"box {losses.box:.4f}  obj {losses.obj:.4f}  cls {losses.cls:.4f}"
    print(f"epoch {losses.epoch:3d}/{losses.epochs}  {terms}  {losses.duration_s:5.1f} s", file=sys.stderr, flush=True)


def write(model: Detector, path: Path) -> None:
    """Save upstream's keys in float16, with the names, layer table and strides as metadata."""
    state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    metadata = {
        "format": "pt",
        "names": json.dumps(list(model.names)),
        "yaml": json.dumps(architecture_to_yaml(model.spec)),
        "strides": json.dumps(list(model.strides)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save({key: value.contiguous() for key, value in state.items()}, metadata))


if __name__ == "__main__":
    main()
