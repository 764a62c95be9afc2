"""The loss in float64: targets are assigned a box at a time; PyTorch's own differentiation gives the gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.oracles.network import ANCHORS

EPS = 1e-7
BALANCE = {3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}
Match = tuple[int, int, int, int, int, tuple[float, float, float, float]]  # image, anchor, row, column, class, box


@dataclass(frozen=True)
class Terms:
    """The loss of a batch.

    Attributes:
        box: gain included, and so the next two.
        obj: of the objectness.
        cls: of the classes.
        total: their sum times the images in the batch.
        gradient_sums: sum of the absolute gradients of `total`, by level.
    """

    box: float
    obj: float
    cls: float
    total: float
    gradient_sums: tuple[float, ...]


def grid_anchors(p6: bool) -> NDArray[np.float64]:
    """The stock anchors in cells, (levels, 3, 2)."""
    pixels = np.array(ANCHORS[p6], np.float64).reshape(-1, 3, 2)
    strides = 8.0 * 2 ** np.arange(len(pixels))
    cells: NDArray[np.float64] = pixels / strides[:, None, None]
    return cells


def matches(
    targets: NDArray[np.float32], anchors: NDArray[np.float64], grid: tuple[int, int], anchor_t: float
) -> list[Match]:
    """Which cell and anchor of a level answer for which target.

    Args:
        targets: (n, 6) image, class, centre x, centre y, width, height, as fractions of the picture.
        anchors: (3, 2) width and height in cells.
        grid: rows and columns.
        anchor_t: the largest ratio of sides.
    """
    rows, columns = grid
    cells: list[Match] = []
    for step_x, step_y in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5)):
        for anchor, size in enumerate(anchors.astype(np.float32)):
            for image, kind, *fractions in targets:
                scale = np.array([columns, rows, columns, rows], np.float32)
                x, y, w, h = (float(side) for side in np.array(fractions, np.float32) * scale)
                ratios = (w / size[0], size[0] / w, h / size[1], size[1] / h)
                if max(ratios) >= anchor_t or not _reaches(x, y, columns, rows, (step_x, step_y)):
                    continue
                column, row = math.floor(x - step_x), math.floor(y - step_y)
                inside = (min(max(row, 0), rows - 1), min(max(column, 0), columns - 1))
                cells.append((int(image), anchor, *inside, int(kind), (x - column, y - row, w, h)))
    return cells


def _reaches(x: float, y: float, columns: int, rows: int, step: tuple[float, float]) -> bool:
    """Whether a target at (x, y) also counts for the neighbour that lies in the direction of a step."""
    place, size = {0.5: (x, 0), -0.5: (columns - x, 0)}.get(step[0], (0.0, 1))
    if size:
        place, size = {0.5: (y, 0), -0.5: (rows - y, 0)}.get(step[1], (0.0, 1))
    return bool(size) or (place % 1 < 0.5 and place > 1)


def ciou(p: Tensor, t: tuple[float, float, float, float]) -> Tensor:
    """Complete IoU of a predicted and a target box, each centre x, centre y, width and height."""
    px, py, pw, ph = p
    tx, ty, tw, th = t
    left, right = (torch.maximum, torch.minimum)
    tensor = torch.tensor
    inter_w = right(px + pw / 2, tensor(tx + tw / 2)) - left(px - pw / 2, tensor(tx - tw / 2))
    inter_h = right(py + ph / 2, tensor(ty + th / 2)) - left(py - ph / 2, tensor(ty - th / 2))
    inter = inter_w.clamp(min=0) * inter_h.clamp(min=0)
    iou = inter / (pw * ph + tw * th - inter + EPS)
    outer_w = left(px + pw / 2, tensor(tx + tw / 2)) - right(px - pw / 2, tensor(tx - tw / 2))
    outer_h = left(py + ph / 2, tensor(ty + th / 2)) - right(py - ph / 2, tensor(ty - th / 2))
    distance = ((px - tx) ** 2 + (py - ty) ** 2) / (outer_w**2 + outer_h**2 + EPS)
    v = 4 / math.pi**2 * (math.atan(tw / th) - torch.atan(pw / ph)) ** 2
    alpha = (v / (v - iou + 1 + EPS)).detach()
    similarity: Tensor = iou - distance - alpha * v
    return similarity


def cross_entropy(x: Tensor, t: Tensor, positive: float, gamma: float) -> Tensor:
    """Binary cross entropy of logits, with a weight of the positives; focal where gamma is above 0; not yet a mean."""
    p = torch.sigmoid(x)
    loss = -(positive * t * torch.log(p) + (1 - t) * torch.log(1 - p))
    if gamma > 0:
        right = t * p + (1 - t) * (1 - p)
        loss = loss * (0.25 * t + 0.75 * (1 - t)) * (1 - right) ** gamma
    return loss


def loss(
    logits: list[NDArray[np.float32]],
    targets: NDArray[np.float32],
    anchors: NDArray[np.float64],
    hyp: dict[str, float],
) -> Terms:
    """The loss of raw outputs, each (images, 3, rows, columns, 5 + classes); anchors (levels, 3, 2) in cells."""
    raw = [torch.from_numpy(level.astype(np.float64)).requires_grad_() for level in logits]
    gamma, smoothing = hyp.get("fl_gamma", 0.0), hyp.get("label_smoothing", 0.0)
    box, obj, cls = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    for level, x in enumerate(raw):
        wanted = torch.zeros(x.shape[:4], dtype=torch.float64)
        losses, classes = [], []
        for image, anchor, row, column, kind, target in matches(
            targets, anchors[level], (x.shape[2], x.shape[3]), hyp["anchor_t"]
        ):
            p = x[image, anchor, row, column]
            size = (2 * torch.sigmoid(p[2:4])) ** 2 * torch.from_numpy(anchors[level, anchor])
            similarity = ciou(torch.cat((2 * torch.sigmoid(p[:2]) - 0.5, size)), target)
            losses.append(1 - similarity)
            wanted[image, anchor, row, column] = similarity.detach().clamp(min=0)
            one_hot = torch.full_like(p[5:], smoothing / 2).detach()
            one_hot[kind] = 1 - smoothing / 2
            classes.append(cross_entropy(p[5:], one_hot, hyp["cls_pw"], gamma))
        if losses:
            box = box + torch.stack(losses).mean()
            cls = cls + (torch.stack(classes).mean() if x.shape[-1] > 6 else 0)
        obj = obj + BALANCE[len(raw)][level] * cross_entropy(x[..., 4], wanted, hyp["obj_pw"], gamma).mean()
    box, obj, cls = box * hyp["box"], obj * hyp["obj"], cls * hyp["cls"]
    total = (box + obj + cls) * len(logits[0])
    total.backward()  # type: ignore[no-untyped-call]
    sums = [0.0 if x.grad is None else float(x.grad.abs().sum()) for x in raw]
    return Terms(box.item(), obj.item(), cls.item(), total.item(), tuple(sums))
