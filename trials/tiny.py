"""A tiny model and a tiny data set, for tests that run a whole command in a second or two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build

NAMES = ("disc", "box", "bar")


def tiny_model(seed: int = 0, *, fused: bool = False) -> Detector:
    """A YOLOv5 of width 0.0625 with random weights and BatchNorm statistics, in evaluation mode."""
    architecture = replace(stock_architecture("v6", "n", nc=len(NAMES)), width_multiple=0.0625)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(architecture, NAMES, fused=fused)
        for key, value in model.state_dict().items():
            if key.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand_like(value) + 0.5)
            if key.startswith("model.24.m.") and key.endswith("bias"):
                value.copy_(torch.randn_like(value))  # so that it detects something
    return model.eval().requires_grad_(False)


def tiny_weights(folder: Path, seed: int = 0) -> Path:
    """The tiny model as a float32 artifact."""
    path = folder / "tiny.safetensors"
    data = encode_model(tiny_model(seed), Form("float32", "dense"), Provenance({}, "tiny", "0" * 64))
    path.write_bytes(data)
    return path


def tiny_data(folder: Path, images: int = 6) -> Path:
    """A data set of small pictures, one or two bright rectangles each; the last picture of a split is empty."""
    for split, count, seed in (("images", images, 0), ("train", 5, 1)):
        _draw_split(folder / split, folder / ("labels" if split == "images" else split), count, seed)
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    yaml = folder / "tiny.yaml"
    yaml.write_text(f"path: .\ntrain: train\nval: images\nnames:\n{names}", encoding="utf-8")
    return yaml


def _draw_split(pictures: Path, labels: Path, images: int, seed: int) -> None:
    random = np.random.RandomState(seed)
    for folder in (pictures, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for i in range(images):
        height, width = 48 + 16 * (i % 3), 64
        picture = random.randint(0, 60, (height, width, 3)).astype(np.uint8)
        rows = []
        for _ in range(0 if i == images - 1 else 1 + i % 2):
            x, y = random.randint(0, width // 2), random.randint(0, height // 2)
            picture[y : y + height // 3, x : x + width // 3] = 200
            centre = ((x + width // 6) / width, (y + height // 6) / height)
            rows.append(f"{i % 3} {centre[0]:.6f} {centre[1]:.6f} {1 / 3:.6f} {1 / 3:.6f}")
        cv2.imwrite(str(pictures / f"{i:03}.png"), picture)
        (labels / f"{i:03}.txt").write_text("\n".join(rows))


RECIPE = """version: 1
description: Half of the weights of a tiny model.
model:
  weights: tiny.safetensors
  fuse: {fuse}
data: tiny.yaml
modifiers:
  - type: prune
    allocation: {allocation}
    sparsity: 0.5
evaluation:
  image_size: 64
  batch_size: 4
"""


def tiny_recipe(folder: Path, name: str = "tiny_half", fuse: str = "before", allocation: str = "uniform") -> Path:
    """A recipe that prunes half of the tiny model."""
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(fuse=fuse, allocation=allocation), encoding="utf-8")
    return path
